"""Tests of orders: the rule for addresses."""

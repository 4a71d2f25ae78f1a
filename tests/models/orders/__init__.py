"""Tests of the rules for orders: addresses."""

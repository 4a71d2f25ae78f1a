"""Tests of the rules for the addresses of orders."""

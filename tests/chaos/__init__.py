"""Chaos runs: load on a system whose parts are killed, cut off, slowed and filled up, and an audit afterwards."""

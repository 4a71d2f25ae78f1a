"""The system on ten hosts, each a network namespace, under load while one after the other loses its network."""

"""The system on ten hosts (network namespaces), tested under load while one host after another loses its network."""

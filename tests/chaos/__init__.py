"""A system under load while its parts are killed, cut off, slowed and filled up, and an auditor of what is left."""

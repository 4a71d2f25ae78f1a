"""An upgrade under load (`make upgrade`): the version before serves customers while this one migrates its database."""

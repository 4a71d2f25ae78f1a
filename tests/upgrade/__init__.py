"""An upgrade under load (`make upgrade`): the older version serves customers while this one migrates its database."""

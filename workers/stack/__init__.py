"""The embedded stack: PostgreSQL, Redis, Kamailio, mail catcher, web, worker and beat as children of one process."""

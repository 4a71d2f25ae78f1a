"""The embedded stack: PostgreSQL, Redis, mail catcher, web, worker and beat as children of one process."""

"""The SIP server's configuration, and a test call. `workers.stack.kamailio` runs the server on one machine."""

"""The SIP server's configuration. `workers.stack.kamailio` runs it on one machine."""

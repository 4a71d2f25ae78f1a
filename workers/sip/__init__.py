"""The configuration file of the SIP server Kamailio, and the code of a test call through this server."""

"""The configuration file of the SIP server Kamailio, and code that makes a test call through the server."""

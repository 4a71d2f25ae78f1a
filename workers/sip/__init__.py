"""The configuration file of the SIP server Kamailio, and the code that makes a test call through the server."""

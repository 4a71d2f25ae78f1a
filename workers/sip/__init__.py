"""The SIP server's configuration file, and the program that makes a test call through the server."""

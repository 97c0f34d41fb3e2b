"""A real OpenSSH server as a device: see server.py."""

"""What strangers can reach while the service listens."""

"""One command that has the machine's own scheduler look after a `.env`."""

"""One command that has the machine's own scheduler look after a `.env`."""

KIND_NAMES = ("systemd", "systemd-timer", "cron", "windows", "launchd")
DEFAULT_NAME = "upstox-token-refresh"

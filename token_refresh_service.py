"""The daemon: `python token_refresh_service.py`; `--once` for cron and Task Scheduler."""

import sys

try:
    from broker_tokens.cli.output import guarded
except ImportError as error:  # this Python is too old
    sys.exit(str(error))


def main() -> int:
    """Run the service; packages are loaded here, so that a missing one is said in words."""
    from broker_tokens.cli.service import main as run

    return run()


if __name__ == "__main__":
    sys.exit(guarded(main))

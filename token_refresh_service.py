"""The daemon: `python token_refresh_service.py`; `--once` for cron and Task Scheduler."""

import sys

from broker_tokens.cli.service import main

if __name__ == "__main__":
    sys.exit(main())

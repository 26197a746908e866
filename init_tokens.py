"""The one-time set-up at a keyboard, and the login of any morning: `python init_tokens.py`."""

import sys

from broker_tokens.cli.init import main

if __name__ == "__main__":
    sys.exit(main())

"""The one-time set-up at a keyboard, and the login of any morning: `python init_tokens.py`."""

import sys

try:
    from broker_tokens.cli.output import guarded
except ImportError as error:  # this Python is too old
    sys.exit(str(error))


def main() -> int:
    """Run the login; packages are loaded here, so that a missing one is said in words."""
    from broker_tokens.cli.init import main as run

    return run()


if __name__ == "__main__":
    sys.exit(guarded(main))

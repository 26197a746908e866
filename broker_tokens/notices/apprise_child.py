"""Sends one notice through apprise, in a process of its own that is told by standard input.

apprise costs 19 MB and a channel may hang; here both end with the process. An address holds
passwords, so it never stands on a command line. Imports nothing of ours: it is run as a file.
"""

import json
import logging
import sys


def main() -> int:
    """Send to the address given; say on standard error what failed, and return the exit code."""
    order = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        return _fail("apprise is not installed: pip install -e '.[notify]'")
    logging.disable(logging.CRITICAL)  # its lines may hold parts of the address
    sender = apprise.Apprise()
    if not sender.add(order["address"]):
        return _fail("apprise does not understand the address")
    if not sender.notify(title=order["title"], body=order["body"]):
        return _fail("the service did not take the message")
    return 0


def _fail(words: str) -> int:
    sys.stderr.write(words + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

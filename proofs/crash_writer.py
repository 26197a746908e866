"""One save of numbered tokens, in a process that a proof kills or whose system calls it fails.

Run as `python -m proofs.crash_writer ENV_FILE`: says "ready", waits for SIGUSR1, saves the version
after the stored one, and ends with an exit code of `OUTCOMES`. What it waits for and says then is
no system call of files, so that those are the save's alone.
"""

import os
import signal
import sys

from broker_tokens.errors import TokenError
from broker_tokens.model import State
from broker_tokens.store import ACCESS_TOKEN, EXPIRES_AT, TokenStore

# By exit code; 1 is Python's own, after a traceback.
OUTCOMES = ("saved", "a traceback", "StoreError", "TemporaryFailure")

_TEXT = "# c\nA=1\n{}={}\n{}={}\nB='two'\n"


def values(number: int) -> dict[str, str]:
    """Return the keys of a version; their length changes with the number."""
    return {ACCESS_TOKEN: f"t-{number}-" + "x" * (number % 7 * 700), EXPIRES_AT: str(number)}


def content(number: int) -> bytes:
    """Return the whole file of a version."""
    keys = values(number)
    return _TEXT.format(ACCESS_TOKEN, keys[ACCESS_TOKEN], EXPIRES_AT, keys[EXPIRES_AT]).encode()


def version_in(path: str) -> int:
    """Return the version that the file holds; raises AssertionError if it is not whole."""
    with open(path, "rb") as file:
        seen = file.read()
    number = int(seen.rpartition(b"EXPIRES_AT=")[2].split(b"\n")[0] or -1)
    assert seen == content(number), f"torn: {seen!r}"
    return number


def save(path: str, number: int) -> None:
    """Save a version as a renewal does; raises TokenError."""
    with TokenStore(path).writing() as writer:
        writer.prove_writable()
        writer.save_tokens(values(number), State())


def main(path: str) -> int:
    """Save the next version when told so; return how it went."""
    import dateutil.parser  # noqa: F401 -- no import is left for the moment of the write
    import dotenv.parser  # noqa: F401

    number = version_in(path) + 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGUSR1})
    try:
        save(path, number)
    except TokenError as error:
        return OUTCOMES.index(type(error).__name__)
    return OUTCOMES.index("saved")


if __name__ == "__main__":
    os._exit(main(sys.argv[1]))

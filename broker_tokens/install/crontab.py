"""A user's crontab, whole: read, written, and changed by one installation at a time."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from broker_tokens.errors import ConfigurationError, StoreError
from broker_tokens.file_lock import FileLock
from broker_tokens.install.machine import LOOK_SECONDS, NOT_FOUND, Machine

# In the user's home: one for all of that user's `.env`s, as there is one crontab.
_LOCK = ".cache/upstox-token-crontab.lock"


@contextmanager
def in_turn(machine: Machine) -> Iterator[None]:
    """Keep out others of this program that would read the crontab now, and write it later.

    An account whose home takes no file does without.
    """
    path = os.path.join(machine.home, _LOCK)
    with ExitStack() as stack:
        with suppress(OSError, StoreError):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            stack.enter_context(FileLock(path, owned_like=machine.home))
        yield


def read_crontab(machine: Machine, options: tuple[str, ...] = ()) -> str:
    """Return the user's crontab, empty if there is none; raises ConfigurationError."""
    done = machine.run(("crontab", "-l", *options), limit=LOOK_SECONDS)
    if done.code == 0:
        return done.out
    if "no crontab for" in done.err:
        return ""
    advice = (
        "Install it (Debian: apt install cron), or choose another kind."
        if done.code == NOT_FOUND
        else "Ask whoever looks after this machine to allow it (cron.allow, cron.deny)."
    )
    raise ConfigurationError(f"The crontab cannot be read: {done.err.strip()}.", advice)


def write_crontab(text: str, machine: Machine) -> None:
    """Put this in the crontab's place, nothing if it is empty; raises ConfigurationError."""
    command = ("crontab", "-") if text else ("crontab", "-r")
    done = machine.run(command, stdin=text.encode("utf-8", "surrogateescape"))
    if done.code != 0 and "no crontab for" not in done.err:
        raise ConfigurationError(
            f"The crontab cannot be changed: {done.err.strip()}.", "The old one is still there."
        )

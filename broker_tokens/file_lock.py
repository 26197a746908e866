"""One lock for all processes and threads: `flock` on a permanent file beside the `.env`.

The lock file is never removed and never truncated before it is owned: removing it lets two
processes lock two different inodes of one name. `.env` itself cannot be the lock, as each replace
gives it a new inode. The kernel frees the lock when its holder dies, however it dies.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Self

from broker_tokens.errors import StoreError, TemporaryFailure
from broker_tokens.file_metadata import give_to_owner_of, make_private

if sys.platform == "win32":  # pragma: no cover -- Windows only
    import msvcrt
else:
    import fcntl

# Longer than one token request may take (its deadline is 20 s) with its write and a second in line.
DEFAULT_TIMEOUT = timedelta(seconds=60)

# A waiter looks often at first, far below what a token request takes, then less: of hundreds that
# look 50 times a second the holder would get no turn.
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.25
_PAUSE_GROWTH = 1.5

_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


# Not followed, not handed to children, and no wait for the other end of a pipe.
_LOOKING_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"))


class Overtaken(Exception):
    """What the lock was wanted for has been done by whoever held it."""


class FileLock:
    """An exclusive lock, usable as a context manager; not re-entrant."""

    def __init__(
        self,
        path: str,
        *,
        owned_like: str | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        pause: Callable[[float], None] = time.sleep,
        is_overtaken: Callable[[], bool] = lambda: False,
    ) -> None:
        """Lock `path`, made 0600 when missing; root gives it to the owner of `owned_like`.

        `is_overtaken` is asked while another holds the lock; if so, entering raises Overtaken.
        """
        self.path = path
        self._owned_like = owned_like
        self._pause = pause
        self._is_overtaken = is_overtaken
        self._timeout = timeout.total_seconds()
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        give_up_at = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE_SECONDS
        while not self.try_acquire():
            if self._is_overtaken():
                raise Overtaken
            if time.monotonic() >= give_up_at:
                raise TemporaryFailure(
                    f"Another process has held the lock {self.path} for more than"
                    f" {self._timeout:.0f} s.",
                    "Try again; if it stays so, look for a stopped process that uses this .env.",
                    request_sent=False,
                )
            self._pause(pause)
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def try_acquire(self) -> bool:
        """Take the lock if it is free and return whether it was; never waits."""
        descriptor = _open(self.path, self._owned_like)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise StoreError(
                f"The lock {self.path} cannot be taken: {error.strerror}.",
                "Keep the .env on a local disk; some network file systems know no locks.",
            ) from None
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Free the lock, if it is held; the file stays."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            # Unlocked by name, not only by close: a forked child may hold a copy of the descriptor.
            with suppress(OSError):
                _unlock(descriptor)
            with suppress(OSError):  # the tokens are safe by now; a lock file holds nothing to lose
                os.close(descriptor)

    def write_note(self, text: str) -> None:
        """Leave a short text (the holder's pid) in the lock file, for whoever finds it held."""
        if self._descriptor is None:
            return
        with suppress(OSError):  # on a full disk the lock holds without a note
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text.encode())

    def touch(self) -> None:
        """Give the file the present moment as its time of change; made when missing, held or not.

        Raises StoreError or OSError.
        """
        descriptor = _open(self.path, self._owned_like)
        try:
            os.utime(descriptor if os.utime in os.supports_fd else self.path)
        finally:
            os.close(descriptor)

    def is_held(self) -> bool:
        """Whether somebody holds the lock; never makes the file, and never waits.

        False too if the file may not be opened. Who takes the lock in the instant of this look must
        try again.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _LOOKING_FLAGS)
        except OSError:
            return False
        try:
            return _is_locked(descriptor)
        finally:
            os.close(descriptor)

    def read_note(self) -> str:
        """Return what the holder left in the lock file, or an empty text."""
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return file.read(128).strip()
        except OSError:
            return ""


def _open(path: str, owned_like: str | None) -> int:
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            return _make(path, flags, owned_like)
    except OSError as error:
        raise StoreError(
            f"The lock file {path} cannot be opened: {error.strerror}.",
            "The folder of the .env must be writable for this user, and the lock no symbolic link.",
            temporary=error.errno in (errno.ENOSPC, errno.EDQUOT),
        ) from None


def _make(path: str, flags: int, owned_like: str | None) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process made it in this instant
        return os.open(path, flags)
    make_private(descriptor)
    if owned_like is not None:
        give_to_owner_of(owned_like, descriptor)
    return descriptor


if sys.platform == "win32":  # pragma: no cover -- Windows only

    def _lock(descriptor: int) -> None:
        # Byte 2**30 lies behind any content, so the note in the file stays readable while locked.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def _is_locked(descriptor: int) -> bool:
        try:
            _lock(descriptor)
        except OSError:
            return True
        _unlock(descriptor)
        return False

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _is_locked(descriptor: int) -> bool:
        try:
            # Shared, so that two who look at once do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _HELD_ELSEWHERE
        _unlock(descriptor)
        return False

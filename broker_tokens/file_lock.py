"""One lock for all processes and threads, on a permanent file beside the `.env`.

The lock file is never removed and never truncated before it is owned: removing it lets two
processes lock two different inodes of one name. `.env` itself cannot be the lock, as each replace
gives it a new inode. The kernel frees the lock when its holder dies, however it dies.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import Any, Protocol, Self

from broker_tokens.errors import StoreError, TemporaryFailure
from broker_tokens.file_metadata import open_private

# Longer than one token request may take (its deadline is 20 s) with its write and a second in line.
DEFAULT_TIMEOUT = timedelta(seconds=60)

# A waiter looks often at first, far below what a token request takes, then less: of hundreds that
# look 50 times a second the holder would get no turn.
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.25
_PAUSE_GROWTH = 1.5

_LOOKS, _PAUSE_BETWEEN_LOOKS_SECONDS = 3, 0.001

_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


# Not followed, not handed to children, and no wait for the other end of a pipe.
_LOOKING_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"))


class Overtaken(Exception):
    """What the lock was wanted for has been done by whoever held it."""


class Locking(Protocol):
    """How a system locks an open file, for its descriptor and against all others."""

    def lock(self, descriptor: int) -> None:
        """Lock, or raise OSError at once."""

    def unlock(self, descriptor: int) -> None:
        """Free it; raises OSError."""

    def is_locked(self, descriptor: int) -> bool:
        """Whether another descriptor has it locked; never waits for that one."""


class Flock:
    """flock(2): the whole file, and a mere agreement: its content stays readable for all."""

    def __init__(self, fcntl: Any) -> None:
        self._fcntl = fcntl

    def lock(self, descriptor: int) -> None:
        """Lock, or raise OSError at once."""
        self._fcntl.flock(descriptor, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)

    def unlock(self, descriptor: int) -> None:
        """Free it; raises OSError."""
        self._fcntl.flock(descriptor, self._fcntl.LOCK_UN)

    def is_locked(self, descriptor: int) -> bool:
        """Whether another descriptor has it locked; never waits for that one."""
        try:
            # Shared, so that two who look at once do not take each other for the holder.
            self._fcntl.flock(descriptor, self._fcntl.LOCK_SH | self._fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _HELD_ELSEWHERE
        self.unlock(descriptor)
        return False


class LockedByte:
    """`msvcrt.locking`: some bytes, which then nobody else can read or write.

    So it is a byte far behind any content, and the note in the file stays readable.
    """

    PLACE = 1 << 30

    def __init__(self, msvcrt: Any, pause: Callable[[float], None] = time.sleep) -> None:
        self._msvcrt = msvcrt
        self._pause = pause

    def lock(self, descriptor: int) -> None:
        """Lock, or raise OSError at once."""
        self._apply(self._msvcrt.LK_NBLCK, descriptor)

    def unlock(self, descriptor: int) -> None:
        """Free it; raises OSError."""
        self._apply(self._msvcrt.LK_UNLCK, descriptor)

    def is_locked(self, descriptor: int) -> bool:
        """Whether another descriptor has it locked; never waits for that one."""
        # It has no shared locks. Another who looks holds it for microseconds, who owns it for long.
        return all(self._is_taken(descriptor) for _ in range(_LOOKS))

    def _is_taken(self, descriptor: int) -> bool:
        try:
            self.lock(descriptor)
        except OSError:
            self._pause(_PAUSE_BETWEEN_LOOKS_SECONDS)
            return True
        self.unlock(descriptor)
        return False

    def _apply(self, mode: int, descriptor: int) -> None:
        os.lseek(descriptor, self.PLACE, os.SEEK_SET)
        self._msvcrt.locking(descriptor, mode, 1)


def of_system(load: Callable[[str], Any] = import_module) -> Locking:
    """Return the way of locking of this system; `load` imports a module by its name."""
    try:
        return Flock(load("fcntl"))
    except ModuleNotFoundError:
        return LockedByte(load("msvcrt"))


HERE = of_system()


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
        locking: Locking = HERE,
    ) -> None:
        """Lock `path`, made 0600 when missing; root gives it to the owner of `owned_like`.

        `is_overtaken` is asked while another holds the lock; if so, entering raises Overtaken.
        """
        self.path = path
        self._owned_like = owned_like
        self._pause = pause
        self._is_overtaken = is_overtaken
        self._locking = locking
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
            self._locking.lock(descriptor)
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
                self._locking.unlock(descriptor)
            with suppress(OSError):  # the tokens are safe by now; a lock file holds nothing to lose
                os.close(descriptor)

    def write_note(self, text: str) -> None:
        """Leave a line (the holder's pid) in the lock file, for whoever finds it held."""
        if self._descriptor is None:
            return
        note = text.encode()
        with suppress(OSError):  # on a full disk the lock holds without a note
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, note)
            os.ftruncate(self._descriptor, len(note))

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
            descriptor = _open_to_look(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return self._locking.is_locked(descriptor)
        finally:
            os.close(descriptor)

    def read_note(self) -> str:
        """Return the line that the holder left in the lock file, or an empty text."""
        try:
            with open(self.path, encoding="utf-8", errors="replace", opener=_open_to_look) as file:
                return file.readline(128).strip()
        except OSError:
            return ""


def _open_to_look(path: str, flags: int) -> int:
    return os.open(path, flags | _LOOKING_FLAGS)


def _open(path: str, owned_like: str | None) -> int:
    try:
        return open_private(path, os.O_RDWR, owned_like=owned_like)
    except OSError as error:
        raise StoreError(
            f"The lock file {path} cannot be opened: {error.strerror}.",
            "The folder of the .env must be writable for this user, and the lock no symbolic link.",
            temporary=error.errno in (errno.ENOSPC, errno.EDQUOT),
        ) from None

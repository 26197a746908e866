"""Who looks after a `.env`: one service for as long as it runs, and `--once` now and then.

A service holds `.env.service.lock` for all its life, with its pid and where it listens as a note in
it. Each look of a service, and of `--once`, is the time of change of that same file; where no
service runs, `--once` leaves a note of its own, so that a service that has just died is not taken
for it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from broker_tokens.clock import Clock, system_clock
from broker_tokens.errors import StoreError, TemporaryFailure
from broker_tokens.file_lock import FileLock
from broker_tokens.store import TokenStore

# Who looks for a running service holds its lock for an instant; that must keep none from starting.
_LOOK_TIME = timedelta(seconds=0.2)

# What `--once` leaves in the lock in the place of a pid.
_ONCE = "once"

# A service looks once a minute; one look may wait for the broker, and for a lock, several times.
LONGEST_SILENCE = timedelta(minutes=5)

# Three runs of `--once` every ten minutes, as the templates for cron and Task Scheduler have it.
_LONGEST_SILENCE_OF_ONCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who looks after a `.env`.

    `pid` is the running service's: None if none runs, 0 if it could not leave word of itself.
    `listens_at` is where it listens, or "". `last_look` (aware) is when a service or `--once` last
    looked, None if nobody ever did; `is_by_once` says that it was `--once`, with no service there.
    """

    pid: int | None
    listens_at: str
    last_look: datetime | None
    is_by_once: bool = False

    @property
    def is_running(self) -> bool:
        """Whether a service runs, however long ago it last looked."""
        return self.pid is not None

    def is_watched(self, now: datetime) -> bool:
        """Whether somebody looks after the `.env` at `now`: a service that looks, or `--once`.

        A last look in the future was noted under a clock that has been set back since; a service
        makes it good within a minute.
        """
        if self.last_look is None or not (self.is_running or self.is_by_once):
            return False
        longest = LONGEST_SILENCE if self.is_running else _LONGEST_SILENCE_OF_ONCE
        return abs(now - self.last_look) < longest


def attendance(env_path: str) -> Attendance:
    """Return who looks after the `.env`; makes no file, waits for nothing, raises nothing."""
    lock = TokenStore(env_path).service_lock()
    is_held = lock.is_held()
    note, _, listens_at = lock.read_note().partition(" ")
    if not is_held:
        return Attendance(None, "", _last_look(lock.path), note == _ONCE)
    return Attendance(_pid_in(note), listens_at, _last_look(lock.path))


def _pid_in(note: str) -> int:
    return int(note) if note.isascii() and note.isdecimal() else 0


def _last_look(path: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(os.lstat(path).st_mtime, UTC)
    except (OSError, OverflowError, ValueError):  # no such file, or a time beyond all calendars
        return None


@contextmanager
def only_service(env_path: str) -> Iterator[FileLock]:
    """Be the one service of this `.env`; raises TemporaryFailure naming the other's pid."""
    lock = TokenStore(env_path).service_lock(_LOOK_TIME)
    try:
        lock.__enter__()
    except TemporaryFailure:
        pid = _pid_in(lock.read_note().partition(" ")[0]) or "unknown"
        raise TemporaryFailure(
            f"A service already runs on {env_path} (pid {pid}).",
            "One is enough; stop that one first if you want this one instead.",
        ) from None
    try:
        note_service(lock)
        yield lock
    finally:
        lock.release()


def note_service(lock: FileLock, listens_at: str = "") -> None:
    """Leave word of this service in its lock, for whoever looks: its pid, and where it listens."""
    lock.write_note(f"{os.getpid()} {listens_at}".strip() + "\n")


class Heartbeat:
    """Notes each look at a `.env`, for other processes in the lock file, for this one in `last`."""

    def __init__(self, env_path: str, clock: Clock = system_clock) -> None:
        """Note the looks at the `.env` at `env_path`."""
        self._lock = TokenStore(env_path).service_lock()
        self._clock = clock
        self.last: datetime | None = None

    def beat_once(self) -> None:
        """Note that `--once` looks now, beside a service or where none runs."""
        with suppress(OSError, StoreError):
            if self._lock.try_acquire():
                self._lock.write_note(f"{_ONCE}\n")
                self._lock.release()
        self.beat()

    def beat(self) -> None:
        """Note that somebody looks now; what goes wrong with that disturbs nobody."""
        self.last = self._clock()
        with suppress(OSError, StoreError):
            self._lock.touch()

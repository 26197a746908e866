"""Who looks after a `.env`, as far as the lock of a running service tells."""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker_tokens.errors import StoreError
from broker_tokens.store import TokenStore

_LONGEST_SILENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Attendance:
    """The running service's pid (0: not known, None: none runs), its address, the last look."""

    pid: int | None = None
    listens_at: str = ""
    last_look: datetime | None = None

    def is_watched(self, now: datetime) -> bool:
        """Whether a service runs, or something looked lately."""
        is_recent = self.last_look is not None and abs(now - self.last_look) < _LONGEST_SILENCE
        return self.pid is not None or is_recent


def attendance(env_path: str) -> Attendance:
    """Return who looks after the `.env`; makes no file and raises nothing."""
    lock = TokenStore(env_path).service_lock()
    if not os.path.exists(lock.path):
        return Attendance()
    try:
        is_free = lock.try_acquire()
    except StoreError:
        return Attendance()
    lock.release()
    if is_free:
        return Attendance()
    pid, _, listens_at = lock.read_note().partition(" ")
    return Attendance(int(pid) if pid.isdecimal() else 0, listens_at)

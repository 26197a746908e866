"""The strategy's side: the stored token, at the price of one look at the file's metadata."""

import os
import time

from broker_tokens.env_glance import glance
from broker_tokens.file_names import backup_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A token and the epoch second at which it dies; ("", 0.0) where none is known to live.
Known = tuple[str, float]

# The coarsest times that file systems keep: 2 s on FAT, 1 s on NFSv2 and HFS+, up to 10 ms on ext4
# before Linux 6.13. Of a file changed within that, the next change may show no other time.
_COARSEST_SECONDS = 2.5

_NEVER = (-1, -1, -1, "", 0.0)


class TokenReader:
    """Reads the token of one `.env`; safe for any number of threads, without a lock.

    A file is the one that was read if time of change (ns), inode and size are the same. The time
    alone can be set back (`cp -p`); inode and size alone miss every second replace, as the file
    system gives a freed inode back and all tokens are of one length. And as two changes may share
    one coarse time, a file that changed just now is read again until its time is past.
    """

    def __init__(
        self,
        path: str,
        load: "Callable[[], Known]",
        *,
        now: "Callable[[], float]" = time.time,
        file_clock: "Callable[[], float]" = time.time,
    ) -> None:
        """Read the `.env` at `path`, possibly a link.

        `load` reads the same, with all that stands beside it, when a glance does not tell enough.
        `now` tells when tokens die, `file_clock` how long ago a file changed; epoch seconds both.
        """
        self._path = path
        self._load = load
        self._now = now
        self._file_clock = file_clock
        # Replaced whole, never changed, so that no thread sees half of it.
        self._cached: tuple[int, int, int, str, float] = _NEVER
        self._recent: tuple[bytes, Known] | None = None

    def live_token(self, margin: float = 0.0) -> str | None:
        """Return the token if it is known to live longer than `margin` seconds, else None.

        Raises StoreError if the file is no text.
        """
        try:
            # `stat` follows links by itself; resolving the path first would cost ten times as much.
            found = os.stat(self._path)
        except OSError:
            return None
        changed_at, inode, size, token, dies_at = self._cached
        if found.st_mtime_ns != changed_at or found.st_ino != inode or found.st_size != size:
            token, dies_at = self._read(found)
        return token if dies_at - self._now() > margin else None

    def _read(self, found: os.stat_result) -> Known:
        content = _content(self._path)
        if content is None:
            return "", 0.0
        recent = self._recent
        if recent is not None and recent[0] == content:
            known = recent[1]
        else:
            known = glance(content) or self._load()
        # What `found` tells is from before the reading: a change in between is seen the next time.
        if self._file_clock() - found.st_mtime > _COARSEST_SECONDS:
            self._cached = (found.st_mtime_ns, found.st_ino, found.st_size, *known)
            self._recent = None
        else:
            self._recent = content, known
        return known


def _content(path: str) -> bytes | None:
    """Return the file's content, None if it cannot be read.

    While it is rewritten in place (a bind mount cannot be replaced) the backup is what is whole.
    """
    real = os.path.realpath(path)
    for each in (backup_path(real), real):
        try:
            with open(each, "rb", buffering=0) as file:
                return file.read()
        except OSError:
            continue
    return None

"""Replace a file in one step that survives a crash: readers see the old content or the new one.

Temporary file in the same folder, 0600 at birth, written, fsynced, renamed over the old file, and
the folder fsynced. The temporary file's name is fixed, because the caller holds the one lock: what
a crash leaves is found and removed by the next writer.
"""

import errno
import os
import stat
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from broker_tokens.errors import StoreError

# A new token reply adds at most this much: five values of a few hundred characters.
_RESERVE = 16_384

# What a rename over a bind-mounted file (Docker's -v .env:/app/.env) fails with.
_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# Windows refuses a rename while a reader has the file open; readers do so for microseconds.
_WINDOWS_TRIES = 40
_WINDOWS_PAUSE_SECONDS = 0.05


def store_error(path: str, deed: str, error: OSError) -> StoreError:
    """Return the error for people of a failed file operation; `deed` is `read` or `written`."""
    if error.errno in _NO_ROOM:
        advice = "Free some room on the disk; nothing was lost, the old content is still there."
        return StoreError(f"{path} cannot be {deed}: {error.strerror}.", advice, temporary=True)
    advice = "Give this user the right to read and write the file and its folder."
    return StoreError(f"{path} cannot be {deed}: {error.strerror}.", advice)


def read_bytes(path: str) -> bytes:
    """Return a file's content; raise StoreError, never treat an unreadable file as an empty one."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise store_error(path, "read", error) from None


class Replacement:
    """A new version of the file at `path`, from `prepare()` to `commit()`; a context manager.

    The caller holds the lock of that file. A file that is new keeps 0600 and, made by root, goes to
    the owner of `owned_like`. `durable=False` leaves the fsyncs out, for content whose loss in a
    power cut costs nothing.
    """

    def __init__(self, path: str, *, owned_like: str | None = None, durable: bool = True) -> None:
        self._path = path
        self._owned_like = owned_like
        self._durable = durable
        self._temporary = temporary_path(path)
        self._descriptor: int | None = None
        self._in_place = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def prepare(self, size: int = 0) -> None:
        """Prove that the file can be written: make the temporary file, with room for `size` more.

        Raises StoreError, with nothing changed, when it cannot.
        """
        try:
            self._make_temporary()
            self._reserve(size + _RESERVE)
        except OSError as error:
            self.discard()
            raise store_error(self._path, "written", error) from None

    def commit(self, content: bytes) -> None:
        """Put `content` in the file's place; raises StoreError with the old content kept."""
        if self._descriptor is None:
            self.prepare(len(content))
        try:
            self._fill(content)
            self._put_in_place(content)
        except OSError as error:
            raise store_error(self._path, "written", error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Close and remove the temporary file, if there is one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _remove(self._temporary)

    def _make_temporary(self) -> None:
        if os.path.exists(self._path) and not os.access(self._path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _remove(self._temporary)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._temporary, flags, 0o600)
        if os.path.exists(self._path):
            self._in_place = not _copy_metadata(self._path, self._descriptor)
        elif self._owned_like is not None:
            give_to_owner_of(self._owned_like, self._descriptor)

    def _reserve(self, size: int) -> None:
        """Write real bytes, so that a full disk shows before anything is spent, not after."""
        assert self._descriptor is not None  # noqa: S101 -- _make_temporary came first
        _write_all(self._descriptor, b"\n" * size)
        if self._durable:
            os.fsync(self._descriptor)

    def _fill(self, content: bytes) -> None:
        assert self._descriptor is not None  # noqa: S101 -- commit prepares first
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        _write_all(self._descriptor, content)
        os.ftruncate(self._descriptor, len(content))
        if self._durable:
            os.fsync(self._descriptor)

    def _put_in_place(self, content: bytes) -> None:
        if not self._in_place:
            try:
                self._replace()
                return
            except OSError as error:
                if error.errno not in _NOT_REPLACEABLE:
                    raise
        self._rewrite(content)

    def _replace(self) -> None:
        if os.name == "nt":  # pragma: no cover -- Windows only
            os.close(self._descriptor or 0)
            self._descriptor = None
            _replace_patiently(self._temporary, self._path)
            return
        os.replace(self._temporary, self._path)
        if self._durable:
            _sync_folder(self._path)

    def _rewrite(self, content: bytes) -> None:
        """Rewrite a file that cannot be replaced, from a backup that outlives a crash."""
        backup = backup_path(self._path)
        os.replace(self._temporary, backup)
        _sync_folder(self._path)
        _overwrite(self._path, content)
        _remove(backup)


def temporary_path(path: str) -> str:
    """Return the name of the temporary file that becomes the next version of `path`."""
    return path + ".new"


def backup_path(path: str) -> str:
    """Return the name of the complete copy that is kept while `path` is rewritten in place."""
    return path + ".backup"


def recover(path: str) -> None:
    """Finish or undo what a killed writer left; the caller holds the lock.

    A backup holds the complete new content of a rewrite in place, so the rewrite is done again; a
    mere temporary file, possibly with half a token in it, is removed.
    """
    try:
        if os.path.exists(backup_path(path)):
            _overwrite(path, read_bytes(backup_path(path)))
            _remove(backup_path(path))
        _remove(temporary_path(path))
    except OSError as error:
        raise store_error(path, "written", error) from None


def _overwrite(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        _write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _copy_metadata(path: str, descriptor: int) -> bool:
    """Give the new file the old one's owner, mode and ACL; return whether the owner is kept."""
    if os.name == "nt":  # pragma: no cover -- Windows: ACLs are inherited from the folder
        return True
    old, new = os.stat(path), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            return False
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    _copy_extended_attributes(path, descriptor)
    return True


def give_to_owner_of(path: str, descriptor: int) -> None:
    """Let a service run by root share a new file with the trader's account, which owns `path`."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(path)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _copy_extended_attributes(path: str, descriptor: int) -> None:
    """Keep ACLs and labels, where the system has them; they grant a strategy's account access."""
    if not hasattr(os, "listxattr"):  # pragma: no cover -- macOS
        return
    try:
        for name in os.listxattr(path):
            os.setxattr(descriptor, name, os.getxattr(path, name))
    except OSError:
        return  # a file system without them, or a label that only the system sets


def _sync_folder(path: str) -> None:
    if os.name == "nt":  # pragma: no cover -- Windows cannot open a folder
        return
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_patiently(source: str, target: str) -> None:  # pragma: no cover -- Windows only
    for _ in range(_WINDOWS_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(_WINDOWS_PAUSE_SECONDS)
    os.replace(source, target)

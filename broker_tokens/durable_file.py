"""Replace a file in one step that survives a crash: readers see the old content or the new one.

Temporary file in the same folder, 0600 at birth, written, fsynced, renamed over the old file, and
the folder fsynced. The temporary file's name is fixed, because the caller holds the one lock: what
a crash leaves is found and removed by the next writer. Nobody names a copy of his own like that.
"""

import errno
import os
import stat
import time
from contextlib import suppress
from typing import Self

from broker_tokens.errors import StoreError
from broker_tokens.file_metadata import copy_metadata, give_to_owner_of, make_private
from broker_tokens.file_names import backup_path, temporary_path

# A new token reply adds at most this much: five values of a few hundred characters.
_RESERVE = 16_384

# What a rename over a bind-mounted file (Docker's -v .env:/app/.env) fails with.
_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)

# What the fsync of a folder fails with where folders may not be opened, or know no fsync.
_NO_FOLDER_SYNC = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)

# What ends by itself, or by somebody's tidying up, without a change of the set-up.
_TEMPORARY = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

_KEPT = "the old content is still there"
_ADVICE = {
    errno.ENOSPC: f"Free some room on the disk; {_KEPT}.",
    errno.EDQUOT: f"Free some room in this user's quota; {_KEPT}.",
    errno.EIO: "Look into the system's log: the disk, or the network to it, is failing.",
    errno.EFBIG: f"Raise the limit of a file's size (ulimit -f, LimitFSIZE=); {_KEPT}.",
    errno.EROFS: "Make its folder writable (systemd: ReadWritePaths=; Docker: no :ro).",
    errno.ENOENT: "Check the path; --env-file and UPSTOX_ENV_FILE name another file.",
    errno.EISDIR: "Put a text file there, or name another one with --env-file.",
    errno.EINVAL: "Put a regular file there, or name another one with --env-file.",
    errno.ELOOP: "Mend the symbolic link, or name another file with --env-file.",
}
_ADVICE_ON_RIGHTS = "Give this user the right to read and write the file and its folder."

# Windows refuses a rename while a reader has the file open; readers do so for microseconds.
_WINDOWS_TRIES = 40
_WINDOWS_PAUSE_SECONDS = 0.05


def store_error(path: str, deed: str, error: OSError) -> StoreError:
    """Return the error for people of a failed file operation; `deed` is `read` or `written`."""
    return StoreError(
        f"{path} cannot be {deed}: {error.strerror}.",
        _ADVICE.get(error.errno or 0, _ADVICE_ON_RIGHTS),
        temporary=error.errno in _TEMPORARY,
    )


def read_bytes(path: str) -> bytes:
    """Return a file's content; raise StoreError, never treat an unreadable file as an empty one."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise store_error(path, "read", error) from None


def read_whole(path: str) -> bytes:
    """Return a file's content, also while it is rewritten in place; raises StoreError.

    As long as there is a backup, it is the backup that is whole.
    """
    try:
        with open(backup_path(path), "rb") as file:
            return file.read()
    except OSError:
        return read_bytes(path)


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
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
        try:
            if self._descriptor is None:
                self._make_temporary()
            is_replaceable = self._fill(content)
            if not (is_replaceable and self._replace()):
                self._rewrite(content)
        except OSError as error:
            raise store_error(self._path, "written", error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Close and remove the temporary file, if there is one."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        # What cannot be removed now is removed by the next writer; the first failure is the news.
        with suppress(OSError):
            os.close(descriptor)
        with suppress(OSError):
            _remove(self._temporary)

    def _make_temporary(self) -> None:
        self.discard()
        _check_writable(self._path)
        _remove(self._temporary)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._temporary, flags, 0o600)
        make_private(self._descriptor)

    def _reserve(self, size: int) -> None:
        """Write real bytes, so that a full disk shows before anything is spent, not after."""
        assert self._descriptor is not None  # noqa: S101 -- _make_temporary came first
        _write_all(self._descriptor, b"\n" * size)
        if self._durable:
            os.fsync(self._descriptor)

    def _fill(self, content: bytes) -> bool:
        """Complete the temporary file; return whether it is in all the old file's equal."""
        assert self._descriptor is not None  # noqa: S101 -- _make_temporary came first
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        _write_all(self._descriptor, content)
        os.ftruncate(self._descriptor, len(content))
        is_alike = True
        if os.path.exists(self._path):
            is_alike = copy_metadata(self._path, self._descriptor)
        elif self._owned_like is not None:
            give_to_owner_of(self._owned_like, self._descriptor)
        if self._durable:
            os.fsync(self._descriptor)
        return is_alike

    def _replace(self) -> bool:
        """Rename the temporary file over the old one; return whether that can be done here."""
        if os.name == "nt":  # pragma: no cover -- Windows only
            os.close(self._descriptor or 0)
            self._descriptor = None
            _replace_patiently(self._temporary, self._path)
            return True
        try:
            os.replace(self._temporary, self._path)
        except OSError as error:
            if error.errno in _NOT_REPLACEABLE:
                return False
            raise
        if self._durable:
            _sync_folder(self._path)
        return True

    def _rewrite(self, content: bytes) -> None:
        """Rewrite a file that cannot be replaced, from a backup that outlives a crash."""
        backup = backup_path(self._path)
        os.replace(self._temporary, backup)
        try:
            _sync_folder(self._path)
            _make_room(self._path, len(content))
        except OSError:
            _remove(backup)
            raise
        _overwrite(self._path, content)
        _remove(backup)


def has_leftovers(path: str) -> bool:
    """Whether a writer of `path` is at work, or was killed."""
    return any(os.path.lexists(left) for left in (temporary_path(path), backup_path(path)))


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


def _check_writable(path: str) -> None:
    """Raise OSError if the file is there and not writable; a mere rename would not ask."""
    if not os.path.exists(path):
        return
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "It is not a regular file")
    if not os.access(path, os.W_OK):
        os.close(os.open(path, os.O_WRONLY))  # fails, and says why


def _make_room(path: str, size: int) -> None:
    """Lengthen a file to `size` with line ends, or leave it as it was and raise OSError.

    Overwriting it then needs no room, so a full disk cannot stop it half way.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
    try:
        old_size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, b"\n" * (size - old_size))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, old_size)
            raise
    finally:
        with suppress(OSError):  # it is synced; a failure now would leave the line ends there
            os.close(descriptor)


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


def _sync_folder(path: str) -> None:
    if os.name == "nt":  # pragma: no cover -- Windows cannot open a folder
        return
    try:
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _replace_patiently(source: str, target: str) -> None:  # pragma: no cover -- Windows only
    for _ in range(_WINDOWS_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(_WINDOWS_PAUSE_SECONDS)
    os.replace(source, target)

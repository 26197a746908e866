"""Replace a file in one step that survives a crash: readers see the old content or the new one.

Temporary file in the same folder, 0600 at birth, written, fsynced, renamed over the old file, and
the folder fsynced. The temporary file's name is fixed, because the caller holds the one lock: what
a crash leaves is found and removed by the next writer. Nobody names a copy of his own like that.
"""

import errno
import os
import stat
from contextlib import suppress
from typing import Self

from broker_tokens import patience
from broker_tokens.errors import StoreError
from broker_tokens.file_metadata import copy_metadata, give_to_owner_of, make_private
from broker_tokens.file_names import backup_path, temporary_path
from broker_tokens.file_trouble import held_open, store_error
from broker_tokens.patience import Patience

# A new token reply adds at most this much: five values of a few hundred characters.
_RESERVE = 16_384

# What a rename over a bind-mounted file (Docker's -v .env:/app/.env) fails with, or, on Windows,
# over one that a program holds open.
_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)

# What the fsync of a folder fails with where folders may not be opened, or know no fsync.
_NO_FOLDER_SYNC = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)


def read_bytes(path: str, *, patient: Patience = patience.HERE) -> bytes:
    """Return a file's content; raise StoreError, never treat an unreadable file as an empty one."""
    try:
        return patient.until_there(lambda: _read(path))
    except OSError as error:
        raise store_error(path, "read", error) from None


def read_whole(path: str, *, patient: Patience = patience.HERE) -> bytes:
    """Return a file's content, also while it is rewritten in place; raises StoreError.

    As long as there is a backup, it is the backup that is whole.
    """
    try:
        return patient.until_let(lambda: _read(backup_path(path)))
    except OSError:
        return read_bytes(path, patient=patient)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


class Replacement:
    """A new version of the file at `path`, from `prepare()` to `commit()`; a context manager.

    The caller holds the lock of that file. A file that is new keeps 0600 and, made by root, goes to
    the owner of `owned_like`. `durable=False` leaves the fsyncs out, for content whose loss in a
    power cut costs nothing.
    """

    def __init__(
        self,
        path: str,
        *,
        owned_like: str | None = None,
        durable: bool = True,
        patient: Patience = patience.HERE,
    ) -> None:
        self._path = path
        self._owned_like = owned_like
        self._durable = durable
        self._patience = patient
        self._temporary = temporary_path(path)
        self._is_begun = False
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
            raise self._failure(error) from None

    def commit(self, content: bytes) -> None:
        """Put `content` in the file's place; raises StoreError with the old content kept."""
        try:
            if self._descriptor is None:
                self._make_temporary()
            is_replaceable = self._fill(content)
            self._close()
            if not (is_replaceable and self._replace()):
                self._rewrite(content)
        except OSError as error:
            raise self._failure(error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Close and remove the temporary file, if there is one."""
        if not self._is_begun:
            return
        self._is_begun = False
        # What cannot be removed now is removed by the next writer; the first failure is the news.
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            remove(self._temporary, self._patience)

    def _make_temporary(self) -> None:
        self.discard()
        _check_writable(self._path, self._patience)
        remove(self._temporary, self._patience)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._temporary, flags, 0o600)
        self._is_begun = True
        make_private(self._descriptor)

    def _close(self) -> None:
        # Before the rename: Windows renames nothing that is open.
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _failure(self, error: OSError) -> StoreError:
        # Where one has to be patient, what was allowed a moment ago is a matter of who has it open.
        is_held = bool(self._patience.pauses) and self._is_begun
        if is_held and isinstance(error, PermissionError):
            return held_open(self._path)
        return store_error(self._path, "written", error)

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
        try:
            self._patience.until_let(lambda: os.replace(self._temporary, self._path))
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
        self._patience.until_let(lambda: os.replace(self._temporary, backup))
        try:
            _sync_folder(self._path)
            self._patience.until_let(lambda: _make_room(self._path, len(content)))
        except OSError:
            remove(backup, self._patience)
            raise
        self._patience.until_let(lambda: _overwrite(self._path, content))
        remove(backup, self._patience)


def has_leftovers(path: str) -> bool:
    """Whether a writer of `path` is at work, or was killed."""
    return any(os.path.lexists(left) for left in (temporary_path(path), backup_path(path)))


def recover(path: str, *, patient: Patience = patience.HERE) -> None:
    """Finish or undo what a killed writer left; the caller holds the lock.

    A backup holds the complete new content of a rewrite in place, so the rewrite is done again; a
    mere temporary file, possibly with half a token in it, is removed.
    """
    try:
        if os.path.exists(backup_path(path)):
            content = read_bytes(backup_path(path), patient=patient)
            patient.until_let(lambda: _overwrite(path, content))
            remove(backup_path(path), patient)
        remove(temporary_path(path), patient)
    except OSError as error:
        raise store_error(path, "written", error) from None


def _check_writable(path: str, patient: Patience) -> None:
    """Raise OSError if the file is there and not writable; a mere rename would not ask."""
    if not os.path.exists(path):
        return
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "It is not a regular file")
    # Windows' answer of `access` knows neither access lists nor who else has the file open.
    if patient.pauses or not os.access(path, os.W_OK):
        patient.until_let(lambda: os.close(os.open(path, os.O_WRONLY)))  # if it fails, it says why


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


def remove(path: str, patient: Patience = patience.HERE) -> None:
    """Remove a file, if it is there; raises OSError."""
    with suppress(FileNotFoundError):
        patient.until_let(lambda: os.unlink(path))


def _sync_folder(path: str) -> None:
    is_folder = getattr(os, "O_DIRECTORY", None)
    if is_folder is None:  # Windows opens no folder
        return
    try:
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | is_folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise

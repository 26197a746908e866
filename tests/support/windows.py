"""What Windows does otherwise than Linux with files, played on Linux.

Locks of byte ranges that belong to an open file, as `msvcrt.locking` has them: here they are those
of Linux on open file descriptions (fcntl(2)), so they hold against other processes, too. And no
file is renamed, replaced or removed while anybody has it open.
"""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from glob import glob
from types import SimpleNamespace

# `struct flock` of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"

# What `os` does not have on Windows, of that which the package looks for.
_MISSING = (
    *("O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "fchmod", "fchown", "geteuid", "getuid", "fork"),
    *("listxattr", "getxattr", "setxattr", "removexattr", "memfd_create", "killpg", "setsid"),
)


def _flock(kind: int, start: int, length: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)


def locking(descriptor: int, mode: int, length: int) -> None:
    """Lock or free `length` bytes at the file's position; held or not held is EACCES."""
    is_read_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    kind = fcntl.F_RDLCK if is_read_only else fcntl.F_WRLCK  # Linux gives a reader no other
    kind = fcntl.F_UNLCK if mode == msvcrt.LK_UNLCK else kind
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(kind, start, length))
    except OSError:
        raise OSError(errno.EACCES, "Permission denied") from None


msvcrt = SimpleNamespace(locking=locking, LK_NBLCK=2, LK_UNLCK=0)


def is_locked(path: str, start: int, length: int) -> bool:
    """Whether somebody holds a lock on a part of these bytes, which then nobody else can read."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        asked = _flock(fcntl.F_WRLCK, start, length)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    finally:
        os.close(descriptor)
    return struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK


def is_open(path: str) -> bool:
    """Whether this process, or another of this user, has the file open."""
    for descriptor in glob("/proc/[0-9]*/fd/[0-9]*"):
        with suppress(OSError):  # it is closed by now, or not ours to see
            if os.readlink(descriptor) == path:
                return True
    return False


def refuse_what_is_open() -> None:
    """Have `os.replace` and `os.unlink` refuse a file that is open, as Windows does."""

    def refusing(call):
        def wrapped(*paths):
            if any(is_open(os.path.realpath(path)) for path in paths):
                raise PermissionError(errno.EACCES, "Access is denied", paths[-1])
            return call(*paths)

        return wrapped

    os.replace, os.unlink = refusing(os.replace), refusing(os.unlink)


def take_away_what_windows_lacks() -> None:
    """Leave `os` without what Windows does not have."""
    for name in _MISSING:
        if hasattr(os, name):
            delattr(os, name)

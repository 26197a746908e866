"""Who may do what with a new file: the mode, owner and ACL of the one it stands in for."""

import os
import stat
import sys
from contextlib import suppress


def make_private(descriptor: int) -> None:
    """Give a file just made the mode 0600, which an odd umask may have narrowed to nothing."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


def open_private(path: str, flags: int, *, owned_like: str | None) -> int:
    """Open a file, made 0600 when missing; root gives a new one to the owner of `owned_like`.

    No symbolic link is followed. Raises OSError.
    """
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process made it in this instant
        return os.open(path, flags)
    make_private(descriptor)
    if owned_like is not None:
        give_to_owner_of(owned_like, descriptor)
    return descriptor


def copy_metadata(path: str, descriptor: int) -> bool:
    """Give the new file the old one's owner, mode and ACL; return whether all of it was allowed.

    On Windows a new file has the access list that its folder hands down.
    """
    if sys.platform == "win32" or not hasattr(os, "fchown"):
        return True
    old, new = os.stat(path), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            return False
    is_alike = _copy_extended_attributes(path, descriptor)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))  # after the ACL, whose mask it also sets
    return is_alike


def give_to_owner_of(path: str, descriptor: int) -> None:
    """Let a service run by root share a new file with the trader's account, which owns `path`."""
    if sys.platform == "win32" or not hasattr(os, "fchown"):
        return
    if os.geteuid() == 0:
        owner = os.stat(path)
        with suppress(OSError):  # a container's root may give nothing away
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _copy_extended_attributes(path: str, descriptor: int) -> bool:
    """Copy ACL and attributes, which may grant a strategy's account access; return if all could be.

    Labels that only the system sets (`security.`, `trusted.`) are its own business.
    """
    if sys.platform == "win32" or not hasattr(os, "setxattr"):  # pragma: no cover -- macOS
        return True
    try:
        old, new = os.listxattr(path), os.listxattr(descriptor)
    except OSError:
        return True  # a file system without them
    is_alike = True
    for name in {*old, *new}:
        try:
            if name in old:
                os.setxattr(descriptor, name, os.getxattr(path, name))
            else:  # an ACL inherited from the folder, which the old file did not have
                os.removexattr(descriptor, name)
        except OSError:
            is_alike = is_alike and name.startswith(("security.", "trusted."))
    return is_alike


def open_to_others(env_path: str) -> str | None:
    """Return a warning if other users of this machine can read the secrets, else None."""
    # Windows has access lists instead, and makes up a mode.
    if not hasattr(os, "fchown") or not os.stat(env_path).st_mode & 0o077:
        return None
    return f"{env_path} can be read by other users of this machine. Mend it: chmod 600 {env_path}"

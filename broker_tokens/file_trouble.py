"""What is wrong with a file, and what to do about it, as an error for people."""

import errno

from broker_tokens.errors import StoreError

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


def store_error(path: str, deed: str, error: OSError) -> StoreError:
    """Return the error for people of a failed file operation; `deed` is `read` or `written`."""
    return StoreError(
        f"{path} cannot be {deed}: {error.strerror}.",
        _ADVICE.get(error.errno or 0, _ADVICE_ON_RIGHTS),
        temporary=error.errno in _TEMPORARY,
    )


def held_open(path: str) -> StoreError:
    """Return the error of a file that Windows lets nobody write while another program has it."""
    return StoreError(
        f"{path} cannot be written: another program holds it open.",
        f"Close that program (an editor, a sync, a virus scanner); {_KEPT}.",
        temporary=True,
    )

"""The `.env`: found, its owner's alone, writable, without broken lines, on a disk with room."""

import os
from collections.abc import Iterator

from broker_tokens.doctor.case import Case, real_folder
from broker_tokens.doctor.finding import Finding, fail, failed, ok, warn
from broker_tokens.errors import EXIT_TEMPORARY, TokenError
from broker_tokens.file_metadata import open_to_others

_MIB = 1 << 20

# A renewal needs some 20 KB; a log that may still grow to its full size needs the rest.
_LOW, _FULL = 50 * _MIB, 1 * _MIB


def check_file(case: Case) -> Iterator[Finding]:
    """Whether the file is there, and who else can read it."""
    if case.trouble is not None:
        yield failed(".env", case.trouble)
    if case.env_path is None:
        return
    real = os.path.realpath(case.env_path)
    if case.trouble is None:
        is_link = os.path.islink(case.env_path)
        yield ok(".env", f"{case.env_path}{f' (a link to {real})' if is_link else ''}")
    if (warning := open_to_others(case.env_path)) is not None:
        cause, _, remedy = warning.partition(" Mend it: ")
        yield warn(".env", cause, remedy)
    if not _is_ours(real):
        yield warn(
            ".env",
            "it belongs to another user, whom each file written beside it must suit, too",
            "Run every command as the one user that owns it.",
        )


def _is_ours(path: str) -> bool:
    if not hasattr(os, "geteuid"):  # pragma: no cover -- Windows
        return True
    return os.geteuid() in (0, os.stat(path).st_uid)


def check_writable(case: Case) -> Iterator[Finding]:
    """Whether a new token could be stored, found out as before each renewal.

    Not by another user: what is made for that beside the `.env` would be that user's.
    """
    if case.env_path is None or not (case.is_readable and _is_ours(case.store.path)):
        return
    try:
        with case.store.writing() as writer:
            writer.prove_writable()
    except TokenError as error:
        yield failed("writable", error)
    else:
        yield ok("writable", "a new token can be stored")


def check_lines(case: Case) -> Iterator[Finding]:
    """Whether each line can be read."""
    for number in case.snapshot.broken_lines:
        yield warn(
            ".env",
            f"line {number} cannot be read, and may swallow the lines under it",
            "Close the quotation mark in that line, or put a # before it.",
        )


def check_disk(case: Case) -> Iterator[Finding]:
    """Whether the disk has room for a token, and for the log."""
    if case.env_path is None:
        return
    try:
        free = case.surroundings.free_bytes(real_folder(case.env_path))
    except OSError:
        return
    words, remedy = f"{free // _MIB:,} MiB are free", "Free some room on the disk."
    if free < _FULL:
        yield fail("disk", words, remedy, EXIT_TEMPORARY)
    else:
        yield ok("disk", words) if free >= _LOW else warn("disk", words, remedy)

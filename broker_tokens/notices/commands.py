"""Runs a command of the user's, or a helper of ours: limited in time, without our secrets."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from broker_tokens import programs
from broker_tokens.credentials import variables_of
from broker_tokens.store import SECRET_KEYS
from broker_tokens.supervisor import VARIABLES as SUPERVISORS_OWN

# After SIGTERM, before SIGKILL.
_GRACE_SECONDS = 2.0

# The end of what a command said is what tells why it failed.
_TAIL = 300

# So much is read for it, and so much of that may be the rest of a secret that was cut in two.
_READ = 64 * 1024
_LONGEST_SECRET = 16 * 1024

_NOT_INHERITED = SECRET_KEYS | SUPERVISORS_OWN

Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: `problem` is a sentence, empty if it went well."""

    problem: str = ""
    said: str = ""


def run(
    words: Sequence[str],
    *,
    environ: Mapping[str, str],
    extra: Mapping[str, str],
    limit: timedelta,
    hide: Hide,
    stdin: bytes = b"",
) -> Finished:
    """Run a command to its end, at most for `limit`; raises nothing for whatever it does.

    It inherits `environ` without our secrets and what only our supervisor's child may have, and
    gets `extra` and `stdin`. `hide` takes out of what it said the secrets that it may have found
    by itself.
    """
    kept = _inherited(variables_of(environ))
    with _scratch() as given, _scratch() as said:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 -- the user's own command, without a shell
                list(words),
                env={**kept, **extra},
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=said,
                **programs.HERE.behind,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its words are not usable"
            return Finished(f"The command {shown(words[0])!r} cannot be started: {reason}.")
        problem = _wait(process, shown(words[0]), limit)
        return Finished(problem, _tail(said, hide))


def shown(program: str) -> str:
    """Return a command's first word as it may be shown: in `KEY=secret program` it is a secret."""
    return program.partition("=")[0]


def _inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what a command may have of our variables, and how it reaches the user's own systemd.

    A login gives that (pam_systemd(8)); cron and a unit of the machine's systemd do not, and
    without it `systemctl --user restart my-strategy` fails.
    """
    kept = {key: value for key, value in variables.items() if key not in _NOT_INHERITED}
    if hasattr(os, "geteuid") and os.path.isdir(place := f"/run/user/{os.geteuid()}"):
        kept.setdefault("XDG_RUNTIME_DIR", place)
    return kept


def _scratch() -> IO[bytes]:
    """Return a nameless file, in memory where the system has such: a full disk costs no notice.

    No pipe: what the command leaves running in the background may hold it open.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("notice"), "w+b")
    return tempfile.TemporaryFile()


def _wait(process: programs.Started, name: str, limit: timedelta) -> str:
    try:
        code = process.wait(limit.total_seconds())
    except subprocess.TimeoutExpired:
        _end(process)
        return f"The command {name!r} was ended after {limit.total_seconds():.0f} s."
    if code < 0:
        return f"The command {name!r} was ended by signal {-code}."
    return f"The command {name!r} failed with exit code {code}." if code else ""


def _end(process: programs.Started) -> None:
    """End the command with all that it started."""
    programs.HERE.ask_to_end(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    programs.HERE.kill(process)
    process.wait()


def _tail(said: IO[bytes], hide: Hide) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _READ))
    text = said.read().decode("utf-8", "replace")
    text = hide(text[_LONGEST_SECRET:] if size > _READ else text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[-_TAIL:]

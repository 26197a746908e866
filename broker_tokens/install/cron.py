"""cron: `--once` every ten minutes, in the user's crontab or in /etc/cron.d.

cron hands the line to sh, in the home folder and with six variables; a `%` ends it: crontab(5).
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from broker_tokens.errors import ConfigurationError
from broker_tokens.install.crontab import in_turn, read_crontab, write_crontab
from broker_tokens.install.job import Job, Scheduler, not_ours
from broker_tokens.install.machine import Account, Machine
from broker_tokens.install.same_env import env_of_shell, is_same
from broker_tokens.install.steps import RemoveFile, Step, Undo, WriteFile, content_of
from broker_tokens.install.templates import own_path, read_template

_TEMPLATE = "crontab.example"
_FOLDER = "/etc/cron.d"

# The comment before our line, by which it is found again.
_MARK = "# {name}: {env_path} (made by: upstox-token install cron)"

_VARIABLE = re.compile(r"\s*[\w\"']+\s*=")

# How many fields stand before the command, the account of /etc/cron.d not among them.
_TIME_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Cron:
    """The crontab of the user, or a file of its own for the whole machine."""

    name: str = "cron"
    keeps_running: bool = False
    platforms: tuple[str, ...] = ("linux", "darwin", "freebsd")

    def install(self, job: Job, machine: Machine) -> list[Step]:
        """Return the step that adds the line, or brings it up to date."""
        if not job.is_system:
            return [ChangeCrontab(job, line(job, machine))]
        text = f"{mark(job)}\nSHELL=/bin/sh\n{line(job, machine)}\n"
        return [WriteFile(_system_file(job, machine), text.encode())]

    def uninstall(self, job: Job, machine: Machine) -> list[Step]:
        """Return the step that removes the line and its comment."""
        if not job.is_system:
            own = Account(machine.user, machine.home)
            has_line = any(
                found.name == job.name for found in _in_crontab(job.env_path, own, machine)
            )
            return [ChangeCrontab(job, None)] if has_line else []
        path = _system_file(job, machine)
        return [RemoveFile(path)] if os.path.lexists(path) else []

    def owner(self, job: Job, machine: Machine) -> str | None:
        """Return the `.env` that the mark of this name tells of."""
        if not job.is_system:
            return _marked(read_crontab(machine), job)
        path = _system_file(job, machine)
        owner = _marked(_decoded(content_of(path) or b""), job)
        if owner is None and os.path.lexists(path):
            raise not_ours(path)
        return owner

    def find(self, env_path: str, machine: Machine) -> list[Scheduler]:
        """Return the lines of the user's crontab, /etc/crontab and cron.d for a `.env`."""
        accounts = machine.accounts(env_path)
        own = [found for each in accounts for found in _in_crontab(env_path, each, machine)]
        return [*own, *_in_system(env_path, machine)]


CRON = Cron()


@dataclass(frozen=True, slots=True)
class ChangeCrontab:
    """The user's crontab with our line at its end or where it was; without it if `line` is None."""

    job: Job
    line: str | None

    @property
    def title(self) -> str:
        """What it does, in a line."""
        deed = "remove the line of" if self.line is None else "put the line into"
        return f"{deed} the crontab of {self.job.user}"

    def shown(self) -> str:
        """Return the lines that change."""
        lines = "" if self.line is None else f"\n{mark(self.job)}\n{self.line}"
        return f"# {self.title[0].upper()}{self.title[1:]} (`crontab -`):{lines}"

    def do(self, machine: Machine) -> Undo:
        """Change the crontab."""
        with in_turn(machine):
            old = read_crontab(machine)
            new = changed(old, self.job, self.line)
            if new != old:
                write_crontab(new, machine)
                self._look_again(machine)
        return lambda: write_crontab(old, machine)

    def _look_again(self, machine: Machine) -> None:
        """Raise ConfigurationError if another program has put back what it had read before."""
        now = read_crontab(machine)
        if changed(now, self.job, self.line) != now:
            raise ConfigurationError(
                f"Another program changed the crontab of {self.job.user} in the same moment.",
                "Close any `crontab -e`, and do it again.",
            )


def mark(job: Job) -> str:
    """Return the comment that stands before a job's line."""
    return _MARK.format(name=job.name, env_path=job.env_path)


def marks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the `.env` of each mark in a crontab."""
    ending = _MARK.partition("{env_path}")[2]
    for each in text.split("\n"):
        if each.startswith("# ") and each.endswith(ending):
            name, colon, env_path = each.removeprefix("# ").removesuffix(ending).partition(": ")
            if colon:
                yield name, env_path


def _marked(text: str, job: Job) -> str | None:
    """Return the `.env` of the mark that has the job's name, None if there is none."""
    return next((env_path for name, env_path in marks(text) if name == job.name), None)


def line(job: Job, machine: Machine) -> str:
    """Return a job's line: that of the template, with the job's own paths."""
    template = read_template(_TEMPLATE).rstrip("\n").rpartition("\n")[2]
    *times, command = template.split(maxsplit=_TIME_FIELDS)
    words = [
        word if (path := own_path(word, job, machine)) is None else quoted(path)
        for word in command.split()
    ]
    return " ".join([*times, *([job.user] if job.is_system else []), *words])


def quoted(path: str) -> str:
    """Return a path as sh reads it in a line of cron.

    What cron makes of a backslash before a `%` differs from one to the next, so no `%` stands
    there: printf makes it.
    """
    if "%" not in path:
        return shlex.quote(path)
    safe = "".join(f"\\{ord(sign):03o}" if sign in "%\\'" else sign for sign in path)
    return f"\"$(printf '{safe}')\""


def changed(text: str, job: Job, new_line: str | None) -> str:
    """Return a crontab with a job's mark and line changed or removed; all else stays as it is."""
    lines = text.split("\n")
    own = [] if new_line is None else [new_line]
    for place, each in enumerate(lines):
        if any(name == job.name for name, _ in marks(each)):
            first, end = _own_line(lines, place + 1, job)
            lines[first:end] = own
            lines[place : place + 1] = [mark(job)] if own else []
            return "\n".join(lines)
    if not own:
        return text
    separator = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{separator}{mark(job)}\n{new_line}\n"


def _own_line(lines: list[str], start: int, job: Job) -> tuple[int, int]:
    """Return where the line of the mark before `start` begins and ends; both `start` without one.

    Between the two somebody may have set variables: MAILTO= for where its output goes.
    """
    for place in range(start, len(lines)):
        owner = env_of_line(lines[place], "")
        if owner is not None and is_same(owner, job.env_path):
            return place, place + 1
        if not _may_follow_mark(lines[place]):
            break
    return start, start


def _may_follow_mark(crontab_line: str) -> bool:
    """Whether a mark counts beyond this line, which is blank or sets a variable."""
    return not crontab_line.strip() or _VARIABLE.match(crontab_line) is not None


def env_of_line(crontab_line: str, home: str) -> str | None:
    """Return the `.env` that a line of a crontab looks after, None if it is no work of ours."""
    stripped = crontab_line.strip()
    if not stripped or stripped.startswith("#"):
        return None
    return env_of_shell(_plain(stripped), home)


def _plain(command: str) -> str:
    """Return a line with the paths that printf makes written out."""
    start, end = "\"$(printf '", "')\""
    while start in command and end in command:
        before, _, rest = command.partition(start)
        inside, _, after = rest.partition(end)
        path = inside.replace("\\045", "%").replace("\\047", "'").replace("\\134", "\\")
        command = before + shlex.quote(path) + after
    return command


def _system_file(job: Job, machine: Machine) -> str:
    return os.path.join(machine.place(_FOLDER), job.name)


def _in_crontab(env_path: str, account: Account, machine: Machine) -> list[Scheduler]:
    try:
        text = read_crontab(machine, ("-u", account.other) if account.other else ())
    except ConfigurationError:
        return []
    found = _in_text(text, env_path, account.home, f"crontab of {account.name}", is_system=False)
    return [replace(each, account=account.other) for each in found]


def _in_system(env_path: str, machine: Machine) -> list[Scheduler]:
    folder = machine.place(_FOLDER)
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    found = []
    for path in (machine.place("/etc/crontab"), *(os.path.join(folder, name) for name in names)):
        with suppress(ConfigurationError):
            text = _decoded(content_of(path) or b"")
            found += _in_text(text, env_path, machine.home, path, is_system=True)
    return found


def _in_text(
    text: str, env_path: str, home: str, where: str, *, is_system: bool
) -> list[Scheduler]:
    """Return the lines for a `.env`; those below a mark have its name, those by hand none."""
    found = []
    name = ""
    for each in text.split("\n"):
        owner = env_of_line(each, home)
        if owner is not None and is_same(owner, env_path):
            found.append(Scheduler("cron", is_system, name, where, is_active=None))
        if not _may_follow_mark(each):
            name = next((known for known, _ in marks(each)), "")
    return found


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")

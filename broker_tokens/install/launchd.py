"""launchd of macOS: `--once` every ten minutes, as the user's agent or the machine's daemon."""

import os
import plistlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html import unescape
from typing import Any
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

from broker_tokens.install import DEFAULT_NAME
from broker_tokens.install.job import PROGRAM, Job, Scheduler, not_ours
from broker_tokens.install.machine import LOOK_SECONDS, Account, Machine
from broker_tokens.install.same_env import is_same
from broker_tokens.install.steps import AfterUndoing, RemoveFile, RunCommand, Step, WriteFile
from broker_tokens.install.templates import own_path, read_template

_PREFIX = "com.broker-tokens."
_DAEMONS = "/Library/LaunchDaemons"
_AGENTS = "Library/LaunchAgents"

_HEAD = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_STRING = re.compile(r"(?<=<string>)[^<]*")
_ARGUMENTS = "  <key>ProgramArguments</key>"

_NO_DOMAIN = (
    "Do it logged in at this Mac's screen, not over SSH; or with --system, or let cron do it:"
    " upstox-token install cron"
)


@dataclass(frozen=True, slots=True)
class Launchd:
    """A property list, and having launchd load it."""

    name: str = "launchd"
    keeps_running: bool = False
    platforms: tuple[str, ...] = ("darwin",)

    def install(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps: the file, and loading it in place of an older version."""
        path, service = _path(job, machine), _service(job, machine)
        is_update = machine.platform == "darwin" and os.path.exists(path)
        load = _load(job, machine)
        steps: list[Step] = [WriteFile(path, render_plist(job, machine).encode())]
        if is_update:
            steps.insert(0, AfterUndoing(again=load))
            steps.append(RunCommand(("launchctl", "bootout", service), may_fail=True))
        steps.append(RunCommand(("launchctl", "enable", service), may_fail=True))
        return [*steps, RunCommand(load, advice=_NO_DOMAIN)]

    def uninstall(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps: unload it, and remove the file."""
        path = _path(job, machine)
        if not os.path.lexists(path):
            return []
        stop = ("launchctl", "bootout", _service(job, machine))
        return [RunCommand(stop, may_fail=True), RemoveFile(path)]

    def owner(self, job: Job, machine: Machine) -> str | None:
        """Return the `.env` that the property list of this name looks after."""
        path = _path(job, machine)
        owner = _env_of(_content(path))
        if owner is None and os.path.lexists(path):
            raise not_ours(path)
        return owner

    def find(self, env_path: str, machine: Machine) -> list[Scheduler]:
        """Return the agents and daemons that look after a `.env`."""
        places: list[tuple[str, Account | None]] = [
            (os.path.join(account.home, _AGENTS), account) for account in machine.accounts(env_path)
        ]
        places.append((machine.place(_DAEMONS), None))
        return [
            _found(path, content, account, machine)
            for folder, account in places
            for path, content in _lists(folder, env_path)
        ]


LAUNCHD = Launchd()


def render_plist(job: Job, machine: Machine) -> str:
    """Return the property list of a job, with the template's comments that explain."""
    label = _PREFIX + job.name

    def own(found: re.Match[str]) -> str:
        text = unescape(found[0])
        path = own_path(text, job, machine)
        return escape(label if text == _PREFIX + DEFAULT_NAME else path or text)

    text = _STRING.sub(own, _HEAD.sub("", read_template(f"{_PREFIX}{DEFAULT_NAME}.plist"), count=1))
    if job.is_system:
        account = f"  <key>UserName</key>\n  <string>{escape(job.user)}</string>\n"
        text = text.replace(_ARGUMENTS, account + _ARGUMENTS)
    return text


def _lists(folder: str, env_path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the property lists in a folder that look after a `.env`, by their paths."""
    names: list[str] = []
    with suppress(OSError):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".plist"))
    for path in (os.path.join(folder, name) for name in names):
        content = _content(path)
        owner = _env_of(content)
        if owner is not None and is_same(owner, env_path):
            yield path, content


def _found(
    path: str, content: dict[str, Any], account: Account | None, machine: Machine
) -> Scheduler:
    """Return what a property list is: an account's agent, or without one a daemon."""
    label = str(content.get("Label", ""))
    is_ours = label.startswith(_PREFIX) and path.endswith(f"{os.sep}{label}.plist")
    other = account.other if account else ""
    return Scheduler(
        "launchd",
        is_system=account is None,
        name=label.removeprefix(_PREFIX) if is_ours else "",
        where=path,
        is_active=None if other else _is_loaded(label, machine, is_system=account is None),
        account=other,
    )


def _is_loaded(label: str, machine: Machine, *, is_system: bool) -> bool | None:
    target = f"{_domain(machine, is_system=is_system)}/{label}"
    done = machine.run(("launchctl", "print", target), limit=LOOK_SECONDS)
    return None if done.code > 125 else done.code == 0


def _folder(machine: Machine, *, is_system: bool) -> str:
    return machine.place(_DAEMONS) if is_system else os.path.join(machine.home, _AGENTS)


def _path(job: Job, machine: Machine) -> str:
    return os.path.join(_folder(machine, is_system=job.is_system), f"{_PREFIX}{job.name}.plist")


def _domain(machine: Machine, *, is_system: bool) -> str:
    return "system" if is_system else f"gui/{machine.uid}"


def _service(job: Job, machine: Machine) -> str:
    return f"{_domain(machine, is_system=job.is_system)}/{_PREFIX}{job.name}"


def _load(job: Job, machine: Machine) -> tuple[str, ...]:
    domain = _domain(machine, is_system=job.is_system)
    return ("launchctl", "bootstrap", domain, _path(job, machine))


def _content(path: str) -> dict[str, Any]:
    """Return a property list, an empty one if it is none."""
    with suppress(OSError, ValueError, ExpatError), open(path, "rb") as file:
        content = plistlib.load(file)
        return content if isinstance(content, dict) else {}
    return {}


def _env_of(content: dict[str, Any]) -> str | None:
    """Return the `.env` that a property list looks after, None if it is no work of ours."""
    words = [str(word) for word in content.get("ProgramArguments", ())]
    if not any(os.path.basename(word) == PROGRAM for word in words):
        return None
    if "--env-file" in words[:-1]:
        return words[words.index("--env-file") + 1]
    folder = content.get("WorkingDirectory", "")
    return os.path.join(folder, ".env") if folder else None

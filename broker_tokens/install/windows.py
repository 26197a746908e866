"""Windows Task Scheduler: one task every ten minutes, and one that wakes a sleeping computer.

Only the few moments that matter are worth waking it. Its files are UTF-16, as its own exports are.
"""

import ntpath
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from html import unescape
from xml.sax.saxutils import escape

from broker_tokens.clock import IST
from broker_tokens.errors import ConfigurationError, TokenError
from broker_tokens.expiry import CUT
from broker_tokens.install.job import PROGRAM, Job, Scheduler, not_ours
from broker_tokens.install.machine import LOOK_SECONDS, Machine
from broker_tokens.install.same_env import is_same
from broker_tokens.install.steps import RemoveFile, RunCommand, Step, WriteFile
from broker_tokens.install.templates import read_template
from broker_tokens.model import Session, Stage, Way
from broker_tokens.policy import GRACE_AFTER_CUT
from broker_tokens.settings import Settings, load_settings
from broker_tokens.stages import stages_of
from broker_tokens.store import REFRESH_TOKEN, TokenStore

_TEMPLATES = {"": "windows-task.xml", "-wake": "windows-task-wake.xml"}

# Any trading day: a daily trigger counts from its first day on.
_FIRST_DAY = date(2026, 1, 1)

_HEAD = re.compile(r"<\?xml.*?\?>\s*<!--.*?-->\s*", re.DOTALL)
_BY_HAND = re.compile(r"\n *<!-- CHANGE:.*?-->", re.DOTALL)
_TRIGGER = re.compile(r" *<!-- [^>]*? -->\n( *<CalendarTrigger>.*?</CalendarTrigger>\n)", re.DOTALL)
_START = re.compile(r"(?<=<StartBoundary>)[^<]*")
_PRINCIPAL = re.compile(r"<LogonType>[^<]*</LogonType>")
_TASK = re.compile(r"<!-- \\?(?P<name>[^>]*?) -->\s*(?P<xml><Task\b.*?</Task>)", re.DOTALL)

_SAID = {Stage.ASK: "you are asked", Stage.REMIND: "a reminder", Stage.ALARM: "the alarm"}

# What the Task Scheduler would put something else for, and knows no way to quote.
_EXPANDED = re.compile(r"%[^%\\]+%|\$\(")

_REFUSED = "Look into its message; with --system it needs a command prompt run as administrator."


@dataclass(frozen=True, slots=True)
class Windows:
    """Two tasks of the user, which with --system run whether the user is logged on or not."""

    name: str = "windows"
    keeps_running: bool = False
    platforms: tuple[str, ...] = ("win32",)

    def install(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps: each task from a file, which is needed only for that moment."""
        _check(job)
        steps: list[Step] = []
        for ending, template in _TEMPLATES.items():
            name = job.name + ending
            path = machine.paths.join(_temporary_folder(machine), f"{name}.xml")
            text = render_task(read_template(template), job, machine)
            is_there = machine.platform == "win32" and _task(name, machine) is not None
            steps += [
                WriteFile(path, text.encode("utf-16"), text),
                RunCommand(
                    ("schtasks", "/Create", "/TN", name, "/XML", path, "/F"),
                    undo=() if is_there else _delete(name),
                    advice=_REFUSED,
                ),
                RemoveFile(path),
            ]
        return [*steps, RunCommand(("schtasks", "/Run", "/TN", job.name), may_fail=True)]

    def uninstall(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps that delete the tasks which are there."""
        names = [job.name + ending for ending in _TEMPLATES]
        there = [name for name in names if _task(name, machine) is not None]
        return [RunCommand(_delete(name), advice=_REFUSED) for name in there]

    def owner(self, job: Job, machine: Machine) -> str | None:
        """Return the `.env` that the tasks of this name look after."""
        owners = [_owner(job.name + ending, machine) for ending in _TEMPLATES]
        return next((owner for owner in owners if owner is not None), None)

    def find(self, env_path: str, machine: Machine) -> list[Scheduler]:
        """Return the tasks that look after a `.env`; one with its wake-up counts once."""
        done = machine.run(("schtasks", "/Query", "/XML"), limit=LOOK_SECONDS)
        found = []
        for match in _TASK.finditer(done.out):
            owner = _env_of(match["xml"])
            name = match["name"].strip("\\ ").removesuffix("-wake")
            if owner is not None and is_same(owner, env_path):
                is_active = "<Enabled>false</Enabled>" not in match["xml"]
                is_system = "<LogonType>S4U</LogonType>" in match["xml"]
                found.append(Scheduler(self.name, is_system, name, f"task {name}", is_active))
        return list({each.name: each for each in reversed(found)}.values())


WINDOWS = Windows()


def render_task(template: str, job: Job, machine: Machine) -> str:
    """Return the task's XML, as text that says it is UTF-16."""
    text = _BY_HAND.sub("", _HEAD.sub("", template, count=1))
    if "<WakeToRun>true" in text:
        text = _with_triggers(text, list(wake_times(job)))
    arguments = [job.program, "--once", "--env-file", job.env_path]
    for element, value in {
        "Command": _without_window(job.interpreter, machine),
        "Arguments": subprocess.list2cmdline(arguments),
        "WorkingDirectory": job.folder,
    }.items():
        pattern = re.compile(rf"(?<=<{element}>)[^<]*")
        text = pattern.sub(lambda _, value=value: escape(value), text)  # type: ignore[misc]  # bound
    principal = f"<UserId>{escape(_account(job, machine))}</UserId>\n      <LogonType>"
    principal += f"{'S4U' if job.is_system else 'InteractiveToken'}</LogonType>"
    text = _PRINCIPAL.sub(lambda _: principal, text)
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{text}'


def wake_times(job: Job) -> Iterator[tuple[datetime, str]]:
    """Yield when a sleeping computer is to be woken, and what for; the earliest first."""
    settings, has_refresh_token = _settings(job)
    day = _FIRST_DAY
    if has_refresh_token and Way.REFRESH_GRANT in settings.ways:
        yield datetime.combine(day, settings.refresh_time, IST), "the nightly silent renewal"
        after_cut = datetime.combine(day, CUT, IST) + GRACE_AFTER_CUT
        yield after_cut, "again, once Upstox has ended the night's token"
    opens = datetime.combine(day, settings.hours.opens, IST)
    session = Session(opens, datetime.combine(day, settings.hours.closes, IST))
    asked_at = datetime.combine(day, settings.approval_time, IST)
    for stage in stages_of(session, settings.approval_time):
        if stage.due_at <= max(opens, asked_at):
            yield stage.due_at, f"{_SAID[stage.stage]}, if today's session has no token"


def _settings(job: Job) -> tuple[Settings, bool]:
    """Return the settings, and whether a silent renewal may be possible; defaults if unreadable."""
    with suppress(TokenError):
        values = TokenStore(job.env_path).load().values
        return load_settings(values, {}), bool(values.get(REFRESH_TOKEN))
    return load_settings({}, {}), False


def _with_triggers(text: str, times: Sequence[tuple[datetime, str]]) -> str:
    """Return a task with a trigger like the template's first one for each of the times."""
    pattern = _TRIGGER.search(text)
    assert pattern is not None  # noqa: S101 -- the template is ours
    triggers = (
        f"    <!-- {why[0].upper()}{why[1:]}. -->\n" + _START.sub(at.isoformat(), pattern[1])
        for at, why in times
    )
    return text[: pattern.start()] + "".join(triggers) + _TRIGGER.sub("", text[pattern.start() :])


def _without_window(interpreter: str, machine: Machine) -> str:
    """Return the interpreter that opens no window, which lies beside that of a console."""
    folder, name = machine.paths.split(interpreter)
    if machine.platform != "win32" or name.lower() != "python.exe":
        return interpreter
    return str(machine.paths.join(folder, "pythonw.exe"))


def _account(job: Job, machine: Machine) -> str:
    domain = machine.environ.get("USERDOMAIN", "")
    return f"{domain}\\{job.user}" if domain and "\\" not in job.user else job.user


def _check(job: Job) -> None:
    for path in (job.interpreter, job.program, job.env_path):
        if _EXPANDED.search(path):
            raise ConfigurationError(
                f"The Task Scheduler would put something else for a part of {path}.",
                "Rename the folder: no % twice, and no $( in it.",
            )


def _temporary_folder(machine: Machine) -> str:
    return machine.environ.get("TEMP", "") or machine.home


def _delete(name: str) -> tuple[str, ...]:
    return ("schtasks", "/Delete", "/TN", name, "/F")


def _task(name: str, machine: Machine) -> str | None:
    """Return a task's XML, None if there is none of this name."""
    done = machine.run(("schtasks", "/Query", "/TN", name, "/XML"), limit=LOOK_SECONDS)
    return done.out if done.code == 0 else None


def _owner(name: str, machine: Machine) -> str | None:
    """Return the `.env` of the task of this name, None if there is none; raises if not ours."""
    task = _task(name, machine)
    owner = None if task is None else _env_of(task)
    if owner is None and task is not None:
        raise not_ours(f"The task {name}")
    return owner


def _env_of(task: str) -> str | None:
    """Return the `.env` that a task looks after, None if it is no work of ours."""
    arguments = _text_of(task, "Arguments")
    if PROGRAM not in arguments:
        return None
    _, is_named, env_path = arguments.partition("--env-file ")
    if is_named:
        return env_path.strip().strip('"')
    folder = _text_of(task, "WorkingDirectory")
    return ntpath.join(folder, ".env") if folder else None


def _text_of(task: str, element: str) -> str:
    found = re.search(rf"<{element}>([^<]*)", task)
    return unescape(found[1]) if found else ""

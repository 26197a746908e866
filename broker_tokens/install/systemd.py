"""systemd: a service that keeps running, or `--once` by a timer; a user's own or the machine's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from broker_tokens.install import DEFAULT_NAME
from broker_tokens.install.job import Job, Scheduler
from broker_tokens.install.machine import LOOK_SECONDS, Account, Machine
from broker_tokens.install.same_env import is_same
from broker_tokens.install.steps import AfterUndoing, RemoveFile, RunCommand, Step, WriteFile, typed
from broker_tokens.install.unit_files import is_needed, services_for, timer_of, unit_owner
from broker_tokens.install.units import render_unit, unit_names

_SYSTEM_UNITS = "/etc/systemd/system"
_USER_UNITS = ".config/systemd/user"

# Where `Persistent=true` of a timer notes its last run.
_SYSTEM_STAMPS = "/var/lib/systemd/timers"
_USER_STAMPS = ".local/share/systemd/timers"

# A file for each account whose own systemd runs from the start of the machine on.
_LINGERING = "/var/lib/systemd/linger"

_NO_MANAGER = (
    "Log in as this user itself (su and sudo do not start its systemd), or install with --system,"
    " or let cron do it: upstox-token install cron --apply"
)
_NO_SYSTEMD = "See why: systemctl status"
_NO_START = "See why: journalctl {scope}-u {unit} -n 20"
_LINGER = (
    "It runs only while {user} is logged in: lingering was refused. Have root allow it:"
    " sudo loginctl enable-linger {user}"
)

_ACTIVE = {"active": True, "activating": True, "reloading": True}
_INACTIVE = {"inactive": False, "failed": False, "deactivating": False}


@dataclass(frozen=True, slots=True)
class _Manager:
    """The systemd of an account, or that of the machine; `home` is its %h."""

    account: Account | None
    folder: str
    home: str

    def ask(self, what: str, unit: str, machine: Machine) -> str:
        """Return what it says of a unit, "" if it says nothing."""
        if self.account and self.account.other:  # the question would start it, and all its units
            return ""
        command = (*_systemctl(is_system=self.account is None), what, unit)
        return machine.run(command, limit=LOOK_SECONDS).out.strip()


@dataclass(frozen=True, slots=True)
class Systemd:
    """One of the two ways in which systemd looks after a `.env`."""

    name: str
    keeps_running: bool
    templates: tuple[str, ...]
    platforms: tuple[str, ...] = ("linux",)

    def install(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps: the units, and then having the manager start them."""
        files = self.files(job, machine)
        unit = self._main_unit(job)
        control = _control(job)
        is_update = os.path.exists(os.path.join(unit_folder(machine, job), unit))
        forget = [] if is_update else [(*control, "reset-failed", unit)]
        scope = "" if job.is_system else "--user "
        no_start = _NO_START.format(scope=scope, unit=unit)
        steps: list[Step] = [
            AfterUndoing(
                ((*control, "daemon-reload"), *forget),
                again=(*control, "restart", unit) if is_update else (),
            ),
            *(WriteFile(path, text.encode()) for path, text in files.items()),
            RunCommand((*control, "daemon-reload"), advice=_no_manager(job)),
            RunCommand(
                (*control, "enable", unit),
                undo=() if is_update else (*control, "disable", "--now", unit),
                advice=_no_manager(job),
            ),
            RunCommand((*control, "restart", unit), advice=no_start),
        ]
        if not self.keeps_running:  # the first look at once, which also shows a wrong set-up
            first = unit.replace(".timer", ".service")
            no_look = _NO_START.format(scope=scope, unit=first)
            steps.append(RunCommand((*control, "start", first), advice=no_look))
        return [*steps, *_linger(job, machine)]

    def uninstall(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps: stop and disable, remove the units, and have the manager forget."""
        unit, control = self._main_unit(job), _control(job)
        own = self._there(job, machine)
        there = [path for path in own if not is_needed(path, but_for=own)]
        if not there:
            return []
        disable = RunCommand(
            (*control, "disable", "--now", unit),
            undo=(*control, "enable", "--now", unit),
            advice=_no_manager(job),
        )
        states = [name for name in self._unit_files(job) if "@" not in name]
        is_whole = os.path.basename(there[0]) == unit
        return [
            AfterUndoing(((*control, "daemon-reload"),)),
            *([disable] if is_whole else []),
            *(RemoveFile(path) for path in there),
            *([RemoveFile(_stamp(machine, job, unit))] if unit.endswith(".timer") else []),
            RunCommand((*control, "daemon-reload"), may_fail=True),
            *(RunCommand((*control, "reset-failed", each), may_fail=True) for each in states),
        ]

    def owner(self, job: Job, machine: Machine) -> str | None:
        """Return the `.env` that the units of this name are for; another one's comes first.

        Both kinds have the same alert, and so does more than one name: it may be another's alone.
        """
        owners = [unit_owner(path, machine.home) for path in self._there(job, machine)]
        others = (owner for owner in owners if not is_same(owner, job.env_path))
        return next(others, next(iter(owners), None))

    def find(self, env_path: str, machine: Machine) -> list[Scheduler]:
        """Return the units of this kind that look after a `.env`, a user's own and the system's."""
        units = (
            (timer_of(manager.folder, service) or service, manager)
            for manager in _managers(env_path, machine)
            for service in services_for(env_path, manager.folder, manager.home)
        )
        return [
            self._found(unit, manager, machine)
            for unit, manager in units
            if unit.endswith(".timer") != self.keeps_running
        ]

    def _found(self, unit: str, manager: _Manager, machine: Machine) -> Scheduler:
        return Scheduler(
            self.name,
            is_system=manager.account is None,
            name=self._name_of(unit),
            where=os.path.join(manager.folder, unit),
            is_active=(_ACTIVE | _INACTIVE).get(manager.ask("is-active", unit, machine)),
            missing=_missing(unit, manager, machine),
            account=manager.account.other if manager.account else "",
        )

    def files(self, job: Job, machine: Machine) -> dict[str, str]:
        """Return the units of a job by their paths."""
        folder = unit_folder(machine, job)
        return {
            os.path.join(folder, name): render_unit(template, job, machine)
            for name, template in zip(self._unit_files(job), self.templates, strict=True)
        }

    def _there(self, job: Job, machine: Machine) -> list[str]:
        """Return the paths of those of the job's units that are there."""
        folder = unit_folder(machine, job)
        paths = (os.path.join(folder, name) for name in self._unit_files(job))
        return [path for path in paths if os.path.lexists(path)]

    def _unit_files(self, job: Job) -> list[str]:
        """Return the names of the job's units, in the order of the templates."""
        names = unit_names(job.name)
        return [
            next(t.replace(f"upstox-token-{key}", new) for key, new in names.items() if key in t)
            for t in self.templates
        ]

    def _main_unit(self, job: Job) -> str:
        """Return the unit that is enabled."""
        return self._unit_files(job)[0]

    def _name_of(self, unit: str) -> str:
        """Return the --name for which a unit is called so, "" if there is none."""
        stem = unit.rpartition(".")[0]
        names = (name for name in (DEFAULT_NAME, stem, stem.removesuffix("-once")))
        key = "refresh" if self.keeps_running else "once"
        return next((name for name in names if unit_names(name)[key] == stem), "")


SERVICE = Systemd("systemd", True, ("upstox-token-refresh.service", "upstox-token-alert@.service"))
TIMER = Systemd(
    "systemd-timer",
    False,
    ("upstox-token-once.timer", "upstox-token-once.service", "upstox-token-alert@.service"),
)


def _managers(env_path: str, machine: Machine) -> Iterator[_Manager]:
    """Yield every systemd that may look after a `.env`."""
    for account in machine.accounts(env_path):
        yield _Manager(account, os.path.join(account.home, _USER_UNITS), account.home)
    yield _Manager(None, machine.place(_SYSTEM_UNITS), machine.home)


def unit_folder(machine: Machine, job: Job) -> str:
    """Return the folder of a job's units."""
    if job.is_system:
        return machine.place(_SYSTEM_UNITS)
    return os.path.join(machine.home, _USER_UNITS)


def _stamp(machine: Machine, job: Job, unit: str) -> str:
    place = machine.place(_SYSTEM_STAMPS) if job.is_system else ""
    return os.path.join(place or os.path.join(machine.home, _USER_STAMPS), f"stamp-{unit}")


def _control(job: Job) -> tuple[str, ...]:
    return _systemctl(is_system=job.is_system)


def _systemctl(*, is_system: bool) -> tuple[str, ...]:
    return ("systemctl",) if is_system else ("systemctl", "--user")


def _no_manager(job: Job) -> str:
    return _NO_SYSTEMD if job.is_system else _NO_MANAGER


def _linger(job: Job, machine: Machine) -> Iterator[Step]:
    """Yield the step that has a user's units run while nobody is logged in, if it is needed."""
    if not (job.is_system or _lingers(job.user, machine)):
        command = ("loginctl", "enable-linger", job.user)
        yield RunCommand(command, may_fail=True, otherwise=_LINGER.format(user=job.user))


def _missing(unit: str, manager: _Manager, machine: Machine) -> str:
    """Return the command without which a unit does not start with the machine, "" if none is."""
    said = manager.ask("is-enabled", unit, machine)
    if said == "disabled":
        return typed((*_systemctl(is_system=manager.account is None), "enable", unit))
    if not said or manager.account is None or _lingers(manager.account.name, machine):
        return ""
    return f"loginctl enable-linger {manager.account.name}"


def _lingers(user: str, machine: Machine) -> bool:
    """Whether an account's units run while it is not logged in, too (loginctl(1))."""
    return os.path.exists(machine.place(f"{_LINGERING}/{user}"))

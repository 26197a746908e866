"""What is installed, for whom and under which name; and what every kind of installation can do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker_tokens.errors import ConfigurationError
from broker_tokens.install import DEFAULT_NAME
from broker_tokens.install.machine import Machine
from broker_tokens.install.steps import Step

PROGRAM = "token_refresh_service.py"
# Every other command: found by its path, so that no file beside the `.env` takes a module's place.
DOOR = "upstox_token_manager.py"

# What systemd, cron.d, launchd and the Task Scheduler all take; cron.d ignores names with a dot.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

# No scheduler's file can hold these in a path, however it is quoted.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Job:
    """One `.env` to be looked after, and by which program as which account."""

    name: str
    env_path: str
    folder: str
    interpreter: str
    program: str
    user: str
    is_system: bool = False
    listen: str = ""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """What looks after a `.env` already.

    `kind` is that of `upstox-token install`, `where` the file (or crontab) that says so, and
    `is_active` whether it is at work, None where nobody says. `name` is that of --name, "" if it
    was made by hand in a way that the command does not know. `missing` is the command without which
    it does not start with the machine, "" if there is none that we know of. `account` is whose own
    it is, if that is neither who asks nor the machine.
    """

    kind: str
    is_system: bool
    name: str
    where: str
    is_active: bool | None
    missing: str = ""
    account: str = ""


class Kind(Protocol):
    """One scheduler of one platform."""

    @property
    def name(self) -> str:
        """What `upstox-token install` calls it."""

    @property
    def keeps_running(self) -> bool:
        """Whether it runs the service, and not `--once` now and then."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """Where it is to be had, as sys.platform names them."""

    def install(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps that install a job, over an older version of itself as well."""

    def uninstall(self, job: Job, machine: Machine) -> list[Step]:
        """Return the steps that leave nothing of a job."""

    def find(self, env_path: str, machine: Machine) -> list[Scheduler]:
        """Return what of this kind looks after a `.env`; never raises."""

    def owner(self, job: Job, machine: Machine) -> str | None:
        """Return the `.env` that the job's name is used for, None if the name is free.

        Raises ConfigurationError if something that is not ours is called so.
        """


def make_job(
    env_path: str,
    machine: Machine,
    *,
    name: str = DEFAULT_NAME,
    is_system: bool = False,
    listen: str = "",
) -> Job:
    """Return the job of looking after the `.env` at `env_path` (absolute).

    Raises ConfigurationError for a name or a path that some scheduler could not hold.
    """
    if not is_name(name):
        raise ConfigurationError(
            f"--name {name!r} is no name that every scheduler takes.",
            "Use letters, digits, - and _.",
        )
    paths = machine.paths
    job = Job(
        name=name,
        env_path=env_path,
        folder=paths.dirname(env_path),
        interpreter=machine.interpreter,
        program=paths.join(machine.module_folder, PROGRAM),
        user=_system_user(env_path, machine) if is_system else machine.user,
        is_system=is_system,
        listen=listen,
    )
    _check_paths((job.env_path, job.interpreter, job.program))
    return job


def is_name(name: str) -> bool:
    """Whether every scheduler takes this name."""
    return _NAME.fullmatch(name) is not None


def not_ours(what: str) -> ConfigurationError:
    """Return the refusal to write over, or to take away, what somebody else has made."""
    return ConfigurationError(
        f"{what} is not ours: it looks after no .env.",
        "Choose another name with --name, or remove it by hand.",
    )


def _system_user(env_path: str, machine: Machine) -> str:
    """Return who a job of the whole machine runs as: the owner, who can read the `.env`."""
    return machine.owner_of(env_path) or machine.environ.get("SUDO_USER", "") or machine.user


def _check_paths(paths: Sequence[str]) -> None:
    for path in paths:
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            wrong = True
        else:
            wrong = _CONTROL.search(path) is not None
        if wrong:
            raise ConfigurationError(
                f"The path {path!r} holds a control character or is not UTF-8,"
                " which no scheduler's file can name.",
                "Rename the folder or the file.",
            )

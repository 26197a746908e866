"""What looks after a `.env` already: every kind is asked, whatever platform it is of."""

import shlex

from broker_tokens.attendance import attendance
from broker_tokens.errors import ConfigurationError
from broker_tokens.install import KIND_NAMES
from broker_tokens.install.cron import CRON
from broker_tokens.install.job import Job, Kind, Scheduler, is_name
from broker_tokens.install.launchd import LAUNCHD
from broker_tokens.install.machine import Machine
from broker_tokens.install.systemd import SERVICE, TIMER
from broker_tokens.install.windows import WINDOWS

__all__ = ["AS_ROOT", "KINDS", "Scheduler", "find_schedulers", "refuse_second", "removal"]

# sudo knows nothing of the virtual environment that the command is in.
AS_ROOT = 'sudo "$(command -v upstox-token)"'

_ALL: tuple[Kind, ...] = (SERVICE, TIMER, CRON, WINDOWS, LAUNCHD)
KINDS = dict(zip(KIND_NAMES, _ALL, strict=True))


def find_schedulers(env_path: str, machine: Machine) -> list[Scheduler]:
    """Return what is installed on a machine for the `.env` at `env_path`; never raises."""
    kinds = [kind for kind in KINDS.values() if machine.platform.startswith(kind.platforms)]
    return [found for kind in kinds for found in kind.find(env_path, machine)]


def refuse_second(job: Job, kind: Kind, machine: Machine) -> None:
    """Raise ConfigurationError if anything but this very job looks after its `.env`."""
    is_reinstalled = False
    for found in find_schedulers(job.env_path, machine):
        if (found.kind, found.is_system, found.name) != (kind.name, job.is_system, job.name):
            raise ConfigurationError(
                f"{job.env_path} is looked after already, by {described(found)}.",
                f"One is enough. To take that one away: {removal(found, job.env_path)}",
            )
        is_reinstalled = kind.keeps_running and found.is_active is not False
    pid = None if is_reinstalled else attendance(job.env_path).pid
    if pid is not None:
        raise ConfigurationError(
            f"A service already runs on {job.env_path} (pid {pid or 'unknown'}).",
            "One is enough. Stop that one first, and whatever starts it.",
        )


def described(found: Scheduler) -> str:
    """Return a scheduler in words."""
    state = {True: ", which is active", False: ", which is not active", None: ""}[found.is_active]
    return f"{found.kind} ({found.where}{state})"


def removal(found: Scheduler, env_path: str) -> str:
    """Return how to take a scheduler away."""
    by_whom = f"As {found.account}: " if found.account else ""
    if is_name(found.name):
        options = f"--name {found.name} --env-file {shlex.quote(env_path)}"
        command = f"install {found.kind} --uninstall"
        if found.is_system:
            return f"{AS_ROOT} {command} --system {options}"
        return f"{by_whom}upstox-token {command} {options}"
    if found.kind == "cron" and not found.is_system:
        return f"{by_whom}crontab -e, and delete the line with token_refresh_service.py"
    return f"disable it and remove {found.where}"

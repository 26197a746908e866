"""The machine as the checks meet it; each part of it can be another in a test."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from broker_tokens.attendance import Attendance, attendance
from broker_tokens.clock import Clock, system_clock
from broker_tokens.install.machine import this_machine
from broker_tokens.install.schedulers import Scheduler, find_schedulers
from broker_tokens.store import SECRET_KEYS
from broker_tokens.transport import HttpTransport, Transport

# The broker answers in well under a second; whoever waits for a report shall not wait for long.
_DEADLINE = timedelta(seconds=10)

_COMMAND_SECONDS = 5.0

# A renewal under way may hold the lock for seconds; a report does not wait for its end.
_LOCK_TIMEOUT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, None if it could not be run, and what it answered."""

    code: int | None
    out: str = ""


def run_command(command: Sequence[str]) -> Ended:
    """Run a command that only looks, for a few seconds at most; raises nothing."""
    try:
        done = subprocess.run(  # noqa: S603 -- our own commands, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A repository's own settings may have git run programs: they get no secret of ours.
            env={key: value for key, value in os.environ.items() if key not in SECRET_KEYS},
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Ended(None)
    return Ended(done.returncode, done.stdout.decode("utf-8", "replace"))


def has_ipv6_route() -> bool:
    """Whether this machine would go out over IPv6; connecting a datagram socket sends nothing."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:4860:4860::8888", 443))
    except OSError:
        return False
    return True


def free_bytes(folder: str) -> int:
    """Return the room on the disk of a folder."""
    return shutil.disk_usage(folder).free


def installed_here(env_path: str) -> Sequence[Scheduler]:
    """Return what is installed on this machine for a `.env`."""
    return find_schedulers(env_path, this_machine())


def fitting_kind() -> str:
    """Return what `upstox-token install` is best told on this machine."""
    fitting = {"win32": "windows", "darwin": "launchd"}
    # Where systemd is process 1 there is this folder (sd_booted(3)).
    has_systemd = os.path.isdir("/run/systemd/system")
    return fitting.get(sys.platform) or ("systemd" if has_systemd else "cron")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything impure that a check may use.

    `schedulers` finds what is installed for a `.env`; `attendance` tells who looks after it now.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    clock: Clock = system_clock
    transport: Transport = field(default_factory=lambda: HttpTransport(deadline=_DEADLINE))
    run: Callable[[Sequence[str]], Ended] = run_command
    has_ipv6: Callable[[], bool] = has_ipv6_route
    free_bytes: Callable[[str], int] = free_bytes
    attendance: Callable[[str], Attendance] = attendance
    schedulers: Callable[[str], Sequence[Scheduler]] = installed_here
    fitting_kind: Callable[[], str] = fitting_kind
    lock_timeout: timedelta = _LOCK_TIMEOUT
    is_offline: bool = False

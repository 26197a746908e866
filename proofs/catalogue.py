"""Every proof: what it promises, how often it is tried, and what it needs of the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from support import proxies

from proofs import (
    crash,
    crowd,
    env_files,
    fuzzed_replies,
    lost_reply,
    nginx_faults,
    real_clock,
    years,
)
from proofs.finding import Finding


@dataclass(frozen=True)
class Proof:
    """One row of the table. `run` takes how many cases to try: `full` of them, or `few`."""

    name: str
    promise: str
    run: Callable[[int], Finding]
    full: int
    few: int
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return what the machine lacks for it."""
        return [name for name in self.needs if not _is_here(name)]


def _is_here(name: str) -> bool:
    if name in ("systemd", "npm dotenv"):
        return name in env_files.installed_readers()
    if name == "libfaketime":
        return real_clock.libfaketime() is not None
    return proxies.find(name) is not None


ALL = (
    Proof(
        "bytes",
        "`.env`: every byte but our values stays, and python-dotenv reads them",
        env_files.bytes_are_kept,
        full=100_000,
        few=2_000,
    ),
    Proof(
        "readers",
        "`.env`: sh, systemd and npm's dotenv read what we wrote",
        env_files.readers_agree,
        full=5_000,
        few=150,
        needs=("systemd", "npm dotenv"),
    ),
    Proof(
        "kills",
        "`.env`: kill -9 of a writer at random moments",
        crash.random_kills,
        full=5_000,
        few=100,
    ),
    Proof(
        "deaths",
        "`.env`: kill -9 at every system call of a write",
        crash.death_at_every_call,
        full=1_000,
        few=12,
        needs=("strace",),
    ),
    Proof(
        "failures",
        f"`.env`: {', '.join(crash.ERRORS)} at every system call of a write",
        crash.failure_of_every_call,
        full=1_000,
        few=4,
        needs=("strace",),
    ),
    Proof(
        "crowds",
        "One renewal for many: crowds that meet a dead token",
        crowd.plain_crowds,
        full=10,
        few=1,
    ),
    Proof(
        "killed",
        "One renewal for many: kill -9 of who holds the lock, its request under way",
        crowd.killed_holders,
        full=10,
        few=1,
    ),
    Proof(
        "stopped",
        "One renewal for many: SIGSTOP of who holds the lock, its reply under way",
        crowd.stopped_holders,
        full=60,
        few=4,
    ),
    Proof(
        "lost",
        "The broker has renewed and its reply is lost",
        lost_reply.lost_replies,
        full=50,
        few=2,
    ),
    Proof(
        "fuzzed",
        "Hostile replies: made up and mangled, through mitmproxy",
        fuzzed_replies.fuzzed_replies,
        full=1_500,
        few=50,
        needs=("mitmdump",),
    ),
    Proof(
        "nginx",
        "Hostile replies: resets, drips, bad certificates, through nginx",
        nginx_faults.nginx_faults,
        full=20,
        few=1,
        needs=("nginx", "openssl", "faketime"),
    ),
    Proof(
        "years",
        "Clocks: ten years of the plan, minute by minute",
        years.years,
        full=3_653,
        few=25,
    ),
    Proof(
        "daemon",
        "Clocks: the real daemon under libfaketime",
        real_clock.real_process,
        full=5,
        few=1,
        needs=("libfaketime",),
    ),
)

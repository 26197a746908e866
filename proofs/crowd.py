"""100 processes of 8 threads at the expiry: one token request, one token, whoever dies or stops.

The broker rotates refresh tokens and revokes the whole family when a spent one comes back, so a
second request would not only be too many: it would end the login.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from support.house import House, ist, running_house

from broker_tokens.errors import TokenError
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.wire import Request, Response
from proofs.finding import Finding

PROCESSES, THREADS = 100, 8
_STOPPED = 2
_CALLERS = PROCESSES * THREADS
_TOKEN_PATH = "/v2/login/authorization/token"

# How long the program waits for the lock, and for the broker.
_PATIENCE, _DEADLINE = 60.0, 20.0


@dataclass
class _Crowd:
    """The crowd's process, and what its members say."""

    process: subprocess.Popen[str]
    said: Counter[str] = field(default_factory=Counter)

    def go(self) -> None:
        """Give the word."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def listen(self, lines: int) -> None:
        """Hear what so many callers got; fewer if there are no more."""
        assert self.process.stdout is not None
        for _, line in zip(range(lines), self.process.stdout, strict=False):
            self.said[line.strip()] += 1


@contextmanager
def _scene(
    processes: int = PROCESSES,
    threads: int = THREADS,
    patience: float = _PATIENCE,
    deadline: float = _DEADLINE,
) -> Iterator[tuple[House, _Crowd]]:
    """Give a house whose token has just ended, and a crowd that waits for the word."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_house(Path(folder), "2026-11-19 09:00", RefreshGrant.ROTATING) as house,
    ):
        house.log_in()
        house.clock.now = ist("2026-11-20 03:31:05")
        numbers = map(str, (processes, threads, patience, deadline))
        now = house.clock.now.isoformat()
        process = subprocess.Popen(
            [sys.executable, "-m", "proofs.crowd_member", str(house.env_file), now, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield house, _Crowd(process)


def plain_crowds(count: int) -> Finding:
    """Let `count` crowds meet the dead token."""
    finding = Finding()
    for number in range(count):
        with _scene() as (house, crowd):
            crowd.go()
            crowd.listen(_CALLERS)
            _judge(finding, house, crowd, _CALLERS, f"crowd {number}")
    finding.tried = f"{count} x {PROCESSES} processes x {THREADS} threads"
    finding.survived = "1 token request each, the same live token for all"
    return finding


def killed_holders(count: int) -> Finding:
    """Kill whoever holds the lock, when its request reaches the broker but before that acts."""
    finding = Finding()
    for number in range(count):
        with _scene() as (house, crowd):
            _at_first_request(house, before=lambda pid: os.kill(pid, signal.SIGKILL))
            crowd.go()
            crowd.listen(_CALLERS)
            _judge(finding, house, crowd, _CALLERS - THREADS, f"killed holder {number}")
    finding.tried = f"{count} holders killed in crowds of {_CALLERS}"
    finding.survived = f"the other {_CALLERS - THREADS} callers got one token, by one request"
    return finding


def stopped_holders(patience: int) -> Finding:
    """Stop whoever holds the lock, once the broker has acted, for longer than the others wait.

    That is `patience` seconds, three times what the broker is given, as the program's own limits
    are. They must end with an error that names the lock. Once the holder goes on, it must keep the
    reply that has come meanwhile, though its own deadline is long over.
    """
    finding = Finding()
    for number in range(_STOPPED):
        stopped: list[int] = []

        def stop(pid: int, stopped: list[int] = stopped) -> None:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

        with _scene(PROCESSES, 1, patience, patience / 3) as (house, crowd):
            _at_first_request(house, after=stop)
            crowd.go()
            crowd.listen(PROCESSES - 1)
            unclear = [said for said in crowd.said if ".env.lock" not in said]
            if unclear or not stopped:
                finding.broken.append(f"stopped holder {number}: the others said {unclear}")
            crowd.said.clear()
            os.kill(stopped[0], signal.SIGCONT)
            crowd.listen(1)
            _judge(finding, house, crowd, 1, f"stopped holder {number}")
    finding.tried = f"{_STOPPED} holders stopped for over {patience} s, {PROCESSES} processes"
    finding.survived = "the others said that the lock is held; the holder's token was kept"
    return finding


def _judge(finding: Finding, house: House, crowd: _Crowd, callers: int, point: str) -> None:
    """Note whatever is not: one renewal, and its token alone, for so many callers."""
    token = house.manager().access_token or ""
    expected = Counter({hashlib.sha256(token.encode()).hexdigest()[:8]: callers})
    if crowd.said != expected:
        finding.broken.append(f"{point}: {callers} callers were told {dict(crowd.said)}")
    if house.broker.token_requests != 2:
        finding.broken.append(f"{point}: {house.broker.token_requests - 1} token requests")
    if not house.broker.is_live(token):
        finding.broken.append(f"{point}: the token is dead")
    house.clock.now += timedelta(days=1)
    try:
        house.manager().refresh_access_token()
    except TokenError as error:  # the refresh token that was kept is not the family's present one
        finding.broken.append(f"{point}: {error}")


Pid = Callable[[int], object]


def _nothing(_: int) -> None:
    pass


def _at_first_request(house: House, *, before: Pid = _nothing, after: Pid = _nothing) -> None:
    """Do something to the process that holds the lock when its token request comes.

    After `before` the broker does not act: the request of a dead process is dropped.
    """
    broker, guard = house.broker, threading.Lock()
    handle: Callable[[Request], Response] = broker.handle
    met: list[int] = []

    def handling(request: Request) -> Response:
        with guard:
            is_first = request.path == _TOKEN_PATH and not met
            if is_first:
                met.append(_holder(house.env_file))
        if not is_first:
            return handle(request)
        if before is not _nothing:
            before(met[0])
            return Response(503, {})
        response = handle(request)
        after(met[0])
        return response

    broker.handle = handling


def _holder(env_file: Path) -> int:
    """Return the process that holds the lock of a `.env` (proc_locks(5))."""
    inode = os.stat(f"{env_file}.lock").st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
            return int(fields[4])
    raise AssertionError("nobody holds the lock")

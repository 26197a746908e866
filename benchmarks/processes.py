"""What whole processes cost: start, memory, wake-ups, end. Medians of many, taken by turns."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from broker_tokens.app import build_service
from broker_tokens.clock import system_clock
from broker_tokens.http_message import Reply, Request
from broker_tokens.secrets import Secret
from broker_tokens.simulator import wire
from broker_tokens.simulator.broker import RefreshGrant, SimulatedUpstox
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.transport import HttpTransport

ROOT = Path(__file__).resolve().parent.parent
SERVICE = str(ROOT / "token_refresh_service.py")
ROUNDS = 31
_ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}

_RSS = "open('/proc/self/status').read().split('VmRSS:')[1].split()[0]"
_TIMED = "import time; t = time.perf_counter_ns(); {call}; print(time.perf_counter_ns() - t)"

MANUAL_LOOP = (
    "import schedule, time\nschedule.every().day.at('02:00').do(print)\n"
    "while True:\n    schedule.run_pending()\n    time.sleep(1)\n"
)
BARE = "import signal; signal.pause()"
BARE_EXIT = "import signal, sys; signal.signal(15, lambda *_: sys.exit()); signal.pause()"


def python(*arguments: str, folder: Path) -> str:
    """Run an interpreter to its end; return what it printed."""
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, cwd=folder, env=_ENVIRON, capture_output=True, check=True)
    return ran.stdout.decode()


def wall_ms(commands: Mapping[str, tuple[str, ...]], folder: Path) -> dict[str, list[float]]:
    """Return the wall times of each command, in ms, taken by turns."""
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, arguments in commands.items():
            began = time.perf_counter()
            python(*arguments, folder=folder)
            spent[name].append((time.perf_counter() - began) * 1_000)
    return spent


def median_over(figures: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of what figures are over those taken in the same turn."""
    return statistics.median(one - other for one, other in zip(figures, base, strict=True))


def rss_mb(code: str, folder: Path) -> float:
    """Return the resident memory of an interpreter after `code`, in MB."""
    found = (int(python("-c", f"{code}\nprint({_RSS})", folder=folder)) for _ in range(9))
    return statistics.median(found) / 1_000


def first_call_us(calls: Mapping[str, tuple[str, str]], folder: Path) -> dict[str, float]:
    """Return the median time of a first call, in us; each is what is imported, and the call."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (imports, call) in calls.items():
            code = f"{imports}; {_TIMED.format(call=call)}"
            spent[name].append(int(python("-c", code, folder=folder)) / 1_000)
    return {name: statistics.median(each) for name, each in spent.items()}


@contextmanager
def idle_folder(*, is_dead: bool = False) -> Iterator[Path]:
    """Give a folder whose service has nothing due; with a dead token, a renewal and then nothing.

    The session is one that is not now, so that Upstox is not asked whether the token lives.
    """
    broker = SimulatedUpstox(
        system_clock, refresh=RefreshGrant.ON, client_id="a", client_secret="b"
    )
    with tempfile.TemporaryDirectory() as name, SimulatorServer(broker) as server:
        folder = Path(name)
        now_ist = (time.time() / 3600 + 5.5) % 24
        session = "20:00-21:00" if now_ist < 16 or now_ist > 22 else "09:00-10:00"
        env_file = folder / ".env"
        env_file.write_text(
            f"UPSTOX_CLIENT_ID=a\nUPSTOX_CLIENT_SECRET=b\nUPSTOX_API_URL={server.url}\n"
            f"UPSTOX_SESSION={session}\nUPSTOX_APPROVAL_TIME=03:31\naccess_token=\n"
        )
        env_file.chmod(0o600)
        code = _code(broker)
        build_service(str(env_file)).exchange_code(Secret(code))
        python(SERVICE, "--once", folder=folder)  # learns the calendar
        if is_dead:
            env_file.write_text(
                "".join(
                    "access_token=\n" if line.startswith("access_token=") else line
                    for line in env_file.read_text().splitlines(keepends=True)
                )
            )
        yield folder


def _code(broker: SimulatedUpstox) -> str:
    query = {
        "response_type": "code",
        "client_id": "a",
        "redirect_uri": "http://localhost:3000/callback",
    }
    dialog = wire.Request("GET", "/v2/login/authorization/dialog", query)
    return broker.handle(dialog).headers["Location"].split("code=")[1].split("&")[0]


@contextmanager
def running(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an interpreter in the background until left."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=_ENVIRON,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def idle(arguments: tuple[str, ...], folder: Path, seconds: float) -> tuple[float, float]:
    """Return the resident memory (MB) of an idle process, and its wake-ups a minute."""
    with running(*arguments, folder=folder) as process:
        time.sleep(5)  # until it has nothing more to do
        before = _wakeups(process.pid)
        time.sleep(seconds)
        minutes = seconds / 60
        return _rss(process.pid), (_wakeups(process.pid) - before) / minutes


def exit_ms(arguments: tuple[str, ...], folder: Path) -> float:
    """Return the median time from SIGTERM to the end, in ms."""
    spent = []
    for _ in range(9):
        with running(*arguments, folder=folder) as process:
            time.sleep(1.5)
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait()
            spent.append((time.perf_counter() - began) * 1_000)
    return statistics.median(spent)


def reply_to_durable_ms() -> tuple[float, float]:
    """Return the time from a renewal's reply to the durable `.env`, and that of a bare replace."""
    ours, bare = [], []
    with idle_folder() as folder:
        path = folder / ".env"
        transport = _Stamping()
        service = build_service(str(path), transport=transport)
        with _synced() as synced:
            for _ in range(ROUNDS):
                service.renew()
                ours.append((synced[-1] - transport.replied_at) * 1_000)
                bare.append(_bare_replace(path))
    return statistics.median(ours), statistics.median(bare)


class _Stamping(HttpTransport):
    """Notes when a reply is there."""

    replied_at = 0.0

    def send(self, request: Request) -> Reply:
        reply = super().send(request)
        self.replied_at = time.perf_counter()
        return reply


@contextmanager
def _synced() -> Iterator[list[float]]:
    """Note when each fsync ended; the last one of a write is the folder's."""
    ended: list[float] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        ended.append(time.perf_counter())

    os.fsync = noting  # type: ignore[assignment]
    try:
        yield ended
    finally:
        os.fsync = fsync


def _bare_replace(path: Path) -> float:
    content = path.read_bytes()
    new = f"{path}.new"
    began = time.perf_counter()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    os.replace(new, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return (time.perf_counter() - began) * 1_000


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1_000


def _wakeups(pid: int) -> int:
    texts = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(text.split("voluntary_ctxt_switches:")[1].split()[0]) for text in texts)

"""Writers that die, and system calls that fail: readers see the old `.env` or the new one.

The faults are strace's: it kills the writer, or fails the call, at the Nth system call of a name.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker_tokens.store import TokenStore
from proofs.crash_writer import OUTCOMES, content, save, version_in
from proofs.finding import Finding

# What a write needs of the file system; memory and threads are the interpreter's own affair.
_CALLS = "%file,%desc"
_NOT_OURS = {"mmap", "mprotect", "munmap", "poll", "select", "pselect6", "epoll_wait", "ioctl"}
ERRORS = ("EIO", "ENOSPC", "EROFS", "EACCES", "ENOENT")
# So many reads take about as long as three saves.
_LONGEST_WATCH = 1000
_KEPT = {".env", ".env.lock", ".env.state.json"}


@contextmanager
def _fresh_env() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_bytes(content(0))
        yield str(path)


def random_kills(count: int, seed: int = 3) -> Finding:
    """Kill `count` writers at random moments, with a reader looking all the time."""
    finding = Finding()
    dice = random.Random(seed)
    mid_write = reads = 0
    with _fresh_env() as path:
        for number in range(count):
            before = version_in(path)
            pid = _fork_writer(path, before + 1)
            for _ in range(dice.randrange(_LONGEST_WATCH)):
                reads += 1
                _check(finding, path, f"kill {number}")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            mid_write += bool(_leftovers(path))
            after = _check(finding, path, f"kill {number}")
            _next_start(finding, path, after, f"kill {number}")
    finding.tried = f"{count:,} kills, {reads:,} reads meanwhile"
    finding.survived = f"{mid_write:,} with a temporary file left, gone at the next start"
    return finding


def _fork_writer(path: str, number: int) -> int:
    """Start a child that writes version after version until it is killed."""
    pid = os.fork()
    if pid:
        return pid
    while True:  # the child has no other way out than the kill
        save(path, number)
        number += 1


def system_calls() -> Counter[str]:
    """Return how often a save makes each of the system calls that are failed."""
    with _fresh_env() as path, tempfile.NamedTemporaryFile("r") as log:
        _run_writer(path, ["-o", log.name, "-e", f"trace={_CALLS}"])
        names = re.findall(r"^(?:\d+ +)?(\w+)\(", log.read(), re.MULTILINE)
    return Counter(name for name in names if name not in _NOT_OURS)


def death_at_every_call(limit: int) -> Finding:
    """Kill the writer on entry to each system call of a save."""
    finding = Finding()
    outcomes: Counter[int] = Counter()
    for name, number in _points(limit):
        with _fresh_env() as path:
            _run_writer(path, ["-e", f"inject={name}:signal=KILL:when={number}"])
            found = _check(finding, path, f"death at {name} {number}")
            _next_start(finding, path, found, f"death at {name} {number}")
            outcomes[found] += 1
    finding.tried = f"{outcomes.total()} calls"
    finding.survived = f"{outcomes[0]} left the old file, {outcomes[1]} the new one"
    return finding


def failure_of_every_call(limit: int) -> Finding:
    """Fail each system call of a save with each error."""
    finding = Finding()
    outcomes: Counter[str] = Counter()
    for name, number in _points(limit):
        for error in ERRORS:
            point = f"{error} at {name} {number}"
            with _fresh_env() as path:
                said = _run_writer(path, ["-e", f"inject={name}:error={error}:when={number}"])
                found = _check(finding, path, point)
                if said == "saved" and found != 1:
                    finding.broken.append(f"{point}: said saved and was not")
                if said not in ("saved", "StoreError", "TemporaryFailure"):
                    finding.broken.append(f"{point}: {said}")
                _next_start(finding, path, found, point)
                outcomes[said] += 1
    finding.tried = f"{outcomes.total():,} failures"
    finding.survived = f"{outcomes['saved']} saved all the same, the others said so"
    return finding


def _points(limit: int) -> list[tuple[str, int]]:
    """Return the calls of a save, about so many of them, spread evenly."""
    calls = sorted(system_calls().items())
    points = [(name, number + 1) for name, count in calls for number in range(count)]
    step = max(1, len(points) // limit)
    return points[::step]


def _run_writer(path: str, options: list[str]) -> str:
    """Run one save under strace, which comes in once all is imported; return what it said."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "proofs.crash_writer", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    tracer = subprocess.Popen(
        ["strace", *options, "-p", str(writer.pid)], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    assert "attached" in attached, attached
    writer.send_signal(signal.SIGUSR1)
    writer.communicate()
    tracer.communicate()
    return OUTCOMES[writer.returncode] if writer.returncode in range(len(OUTCOMES)) else "killed"


def _check(finding: Finding, path: str, point: str) -> int:
    """Return the version in the file, and note it if the file is torn."""
    try:
        return version_in(path)
    except (AssertionError, OSError, ValueError) as error:
        finding.broken.append(f"{point}: {error}")
        return -1


def _next_start(finding: Finding, path: str, found: int, point: str) -> None:
    """Start anew and save: both must leave no temporary file behind."""
    TokenStore(path).clear_leftovers()
    if _check(finding, path, point) != found or _leftovers(path):
        finding.broken.append(f"{point}: the next start left {_leftovers(path)}")
    save(path, found + 1)
    if _check(finding, path, point) != found + 1 or _leftovers(path):
        finding.broken.append(f"{point}: the next save left {_leftovers(path)}")


def _leftovers(path: str) -> set[str]:
    return set(os.listdir(os.path.dirname(path))) - _KEPT

"""The lock by the rules of Windows: a byte that belongs to an open file, and to it alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import windows

from broker_tokens.file_lock import FileLock, Flock, LockedByte, of_system

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def locked_byte():
    """Windows' way of locking."""
    return LockedByte(windows.msvcrt)


def test_a_locked_byte_excludes_another_process(tmp_path, locked_byte):
    """Whoever holds the byte excludes all others until its release, its end, or its kill."""
    path = str(tmp_path / ".env.lock")
    body = (
        "from support import windows; from broker_tokens.file_lock import FileLock, LockedByte\n"
        f"lock = FileLock({path!r}, locking=LockedByte(windows.msvcrt))\n"
        "assert lock.try_acquire(); lock.write_note('1234 8765\\n'); print(flush=True); input()"
    )
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environ}
    with subprocess.Popen([sys.executable, "-c", body], **pipes) as holder:
        assert holder.stdout.readline() == b"\n"
        waiting = FileLock(path, locking=locked_byte)
        assert not waiting.try_acquire()
        assert waiting.read_note() == "1234 8765"
        holder.kill()

    assert waiting.try_acquire()


def test_the_note_lies_outside_of_the_locked_byte(tmp_path, locked_byte):
    """Nobody else can read locked bytes; who holds the lock can still be read."""
    path = str(tmp_path / ".env.lock")
    with FileLock(path, locking=locked_byte) as lock:
        lock.write_note("1234 127.0.0.1:8765\n")
        assert not windows.is_locked(path, 0, 1 << 20)
        assert windows.is_locked(path, LockedByte.PLACE, 1)
        assert os.path.getsize(path) == len("1234 127.0.0.1:8765\n")

    assert not windows.is_locked(path, 0, 1 << 31)


def test_a_shorter_note_leaves_nothing_of_the_one_before(tmp_path, locked_byte):
    """The next holder's line is read without the rest of a longer one."""
    path = str(tmp_path / ".env.lock")
    for note in ("123456 127.0.0.1:8765\n", "1\n"):
        with FileLock(path, locking=locked_byte) as lock:
            lock.write_note(note)

    assert FileLock(path).read_note() == "1"
    assert os.path.getsize(path) == 2


def test_two_locks_of_one_process_exclude_each_other_on_windows_too(tmp_path, locked_byte):
    """A thread is no better than a process there, either; release gives the lock to the next."""
    path = str(tmp_path / ".env.lock")
    with FileLock(path, locking=locked_byte):
        assert not FileLock(path, locking=locked_byte).try_acquire()

    assert FileLock(path, locking=locked_byte).try_acquire()


def test_a_look_from_outside_takes_nobody_for_the_holder_who_only_looks(tmp_path):
    """Windows knows no shared locks: who looks holds it for an instant, and the other looks again.

    Who really holds it is found by both.
    """
    path = str(tmp_path / ".env.lock")
    looker = FileLock(path, locking=LockedByte(windows.msvcrt))
    assert looker.try_acquire()
    patient = FileLock(path, locking=LockedByte(windows.msvcrt, lambda _: looker.release()))

    assert not patient.is_held()
    with looker:
        assert FileLock(path, locking=LockedByte(windows.msvcrt)).is_held()


def test_the_way_of_locking_is_the_systems():
    """flock where there is one, else what Windows has."""

    def load(name):
        if name == "fcntl":
            raise ModuleNotFoundError(name)
        return windows.msvcrt

    assert isinstance(of_system(), Flock)
    assert isinstance(of_system(load), LockedByte)

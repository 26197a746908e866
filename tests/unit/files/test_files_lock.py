"""The lock: one holder among all threads and processes, freed by any death, on a permanent file."""

import os
import signal
import stat
import subprocess
import threading
from datetime import timedelta

import pytest

from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_TEMPORARY, StoreError, TemporaryFailure
from broker_tokens.file_lock import FileLock, Overtaken

HOLD = """
lock = FileLock(sys.argv[1])
assert lock.try_acquire()
lock.write_note("held\\n")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    """Where the lock file is to be."""
    return str(tmp_path / ".env.lock")


@pytest.fixture
def holder(scripts, path):
    """Another process that holds the lock until it is told to end, or killed."""
    process = scripts.start(HOLD, path, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_file_is_permanent(path):
    """Release leaves the file, the same inode and its content: the invariant that excludes two."""
    with FileLock(path) as lock:
        lock.write_note("123\n")
        inode = os.stat(path).st_ino
    with FileLock(path):
        assert os.stat(path).st_ino == inode
    FileLock(path).try_acquire()

    assert os.stat(path).st_ino == inode
    assert FileLock(path).read_note() == "123"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_file_is_private(path, umask):
    """The lock file is 0600 whatever the umask, and can be locked again."""
    before = os.umask(umask)
    try:
        with FileLock(path):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert FileLock(path).try_acquire()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_symbolic_link_is_refused(path, tmp_path, is_there):
    """A link in the lock's place is an error, and what it points to is neither made nor changed."""
    elsewhere = tmp_path / "elsewhere"
    if is_there:
        elsewhere.write_text("theirs")
    os.symlink(elsewhere, path)
    with pytest.raises(StoreError, match=r"\.env\.lock") as caught:
        FileLock(path).try_acquire()

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert elsewhere.exists() == is_there


def test_it_excludes_another_lock_of_this_process(path):
    """Two locks of one process exclude each other: a thread is no better than a process."""
    with FileLock(path):
        assert not FileLock(path).try_acquire()

    assert FileLock(path).try_acquire()


def test_threads_take_turns(path):
    """Eight threads add to a number 40 times each under the lock, and no addition is lost."""
    total = [0]

    def add():
        for _ in range(40):
            with FileLock(path, pause=lambda _: None):
                before = total[0]
                os.stat(path)  # gives the other threads their chance
                total[0] = before + 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert total == [320]


def test_processes_take_turns(scripts, path, tmp_path):
    """Four processes add to a number in a file 100 times each, and no addition is lost."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    body = """
for _ in range(100):
    with FileLock(sys.argv[1], pause=lambda _: os.sched_yield()):
        n = int(open(sys.argv[2]).read())
        with open(sys.argv[2], "w") as file: file.write(str(n + 1))
"""
    processes = [scripts.start(body, path, counter) for _ in range(4)]

    assert [process.wait(60) for process in processes] == [0] * 4
    assert counter.read_text() == "400"
    for process in processes:
        process.stdout.close()


def test_it_excludes_another_process_until_that_is_killed(path, holder):
    """`kill -9` of the holder frees the lock at once."""
    assert not FileLock(path).try_acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert FileLock(path).try_acquire()


def test_the_note_can_be_read_while_the_lock_is_held(path, holder):
    """Who finds the lock held can say who holds it."""
    assert FileLock(path).read_note() == "held"


def test_waiting_ends_in_a_temporary_failure(path, holder):
    """After the timeout the waiter gives up with 75, names the lock, and has sent nothing."""
    with (
        pytest.raises(TemporaryFailure) as caught,
        FileLock(path, timeout=timedelta(0), pause=lambda _: None),
    ):
        pass

    assert caught.value.exit_code == EXIT_TEMPORARY
    assert not caught.value.request_sent
    assert path in str(caught.value)


def test_a_waiter_gets_the_lock_when_it_is_freed(path, holder):
    """A waiter that finds the lock free at its next look has it."""

    def pause(_):
        holder.kill()
        holder.wait()

    with FileLock(path, pause=pause):
        assert not FileLock(path).try_acquire()


def test_a_forked_child_does_not_keep_it(scripts, path):
    """After release the lock is free although a forked child still has the descriptor open."""
    body = """
reading, writing = os.pipe()
lock = FileLock(sys.argv[1])
assert lock.try_acquire()
pid = os.fork()
if pid == 0:
    os.read(reading, 1)
    os._exit(0)
lock.release()
try: assert FileLock(sys.argv[1]).try_acquire()
finally:
    os.write(writing, b"x")
    os.waitpid(pid, 0)
"""
    assert scripts.run(body, path).exit_code == 0


def test_a_waiter_looks_less_and_less_often(path, holder):
    """At first at once, and of hundreds that wait none keeps the holder from its work."""
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            holder.kill()
            holder.wait()

    with FileLock(path, pause=pause):
        pass

    assert pauses[0] == 0.02
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.25


def test_a_waiter_that_is_overtaken_leaves_without_the_lock(path, holder):
    """What it was wanted for is done; a free lock is taken without asking."""
    is_done = iter([False, False, True])
    waiting = FileLock(path, pause=lambda _: None, is_overtaken=lambda: next(is_done))
    with pytest.raises(Overtaken):
        waiting.__enter__()
    holder.kill()
    holder.wait()

    with FileLock(path, is_overtaken=lambda: True):
        assert not FileLock(path).try_acquire()


def test_root_shares_it_with_the_owner_of_the_env(path, tmp_path, needs_root):
    """Made by root, the lock belongs to whom the `.env` belongs, so that both can take it."""
    env_file = tmp_path / ".env"
    env_file.touch()
    os.chown(env_file, 1234, 4321)
    with FileLock(path, owned_like=str(env_file)):
        found = os.stat(path)

    assert (found.st_uid, found.st_gid) == (1234, 4321)


def test_a_folder_without_rights_is_an_error(open_folder, run_as_nobody):
    """Where no lock file can be made the error names it and says what the folder lacks."""
    open_folder.chmod(0o555)
    ending = run_as_nobody("FileLock(sys.argv[1]).try_acquire()", open_folder / ".env.lock")

    assert ending.exit_code == EXIT_CONFIGURATION
    assert "folder" in ending.message


def test_a_full_disk_costs_the_note_only(scripts, open_folder, mount_wrapper):
    """With no room for the note the lock is held all the same."""
    body = """
lock = FileLock(sys.argv[1] + "/.env.lock")
assert lock.try_acquire()
with open(sys.argv[1] + "/filler", "wb", buffering=0) as filler:
    try:
        while True: filler.write(b"x" * 4096)
    except OSError: pass
lock.write_note("123")
assert not FileLock(lock.path).try_acquire()
"""
    wrapper = mount_wrapper(f"mount -t tmpfs -o size=64k none {open_folder}")

    assert scripts.run(body, open_folder, wrapper=wrapper).exit_code == 0

"""Who looks after a `.env`, seen from outside: a running service, `--once`, or nobody."""

import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from broker_tokens.attendance import Attendance, Heartbeat, attendance, note_service, only_service

HOLD = """
from broker_tokens.attendance import note_service, only_service
with only_service(sys.argv[1]) as lock:
    note_service(lock, "127.0.0.1:8765")
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def env_path(tmp_path):
    """A `.env` that nobody has looked after yet."""
    path = tmp_path / ".env"
    path.write_text("access_token=\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def service(scripts, env_path):
    """Another process that is the service of this `.env`."""
    process = scripts.start(HOLD, env_path, stdin=subprocess.PIPE)
    process.pid_said = int(process.stdout.readline())
    yield process
    process.kill()
    process.communicate()


def lock_of(env_path):
    return env_path + ".service.lock"


def test_nobody_ever(env_path):
    """Of a `.env` that nobody looks after nothing is known, and looking leaves no file."""
    assert attendance(env_path) == Attendance(None, "", None)
    assert os.listdir(os.path.dirname(env_path)) == [".env"]


def test_a_folder_that_is_not_there(tmp_path):
    """Looking raises nothing, wherever the `.env` is said to be."""
    assert attendance(str(tmp_path / "none" / ".env")) == Attendance(None, "", None)


def test_a_running_service(service, env_path):
    """A running service is known by its pid and by where it listens; its start counts as a look."""
    seen = attendance(env_path)

    assert (seen.pid, seen.listens_at) == (service.pid_said, "127.0.0.1:8765")
    assert abs(datetime.now(UTC) - seen.last_look) < timedelta(minutes=1)


def test_a_killed_service(service, env_path):
    """A killed service looks after nothing, whatever its note still says; its last look is kept."""
    service.kill()
    service.wait()
    seen = attendance(env_path)

    assert not seen.is_running
    assert seen.listens_at == ""
    assert seen.last_look is not None


def test_a_service_without_a_note(env_path):
    """On a full disk a service leaves no word of itself; that it runs is known all the same."""
    with only_service(env_path) as lock:
        os.truncate(lock.path, 0)
        seen = attendance(env_path)

    assert seen.is_running
    assert seen.pid == 0


def test_a_link_is_followed(service, env_path, tmp_path):
    """A link to the `.env` shows the same attendance."""
    link = tmp_path / "link.env"
    link.symlink_to(env_path)

    assert attendance(str(link)) == attendance(env_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_an_odd_file_holds_nobody_up(env_path, make):
    """A pipe, a folder or a link in the place of the lock makes nobody wait, and nobody fail."""
    make(lock_of(env_path))

    assert attendance(env_path).pid is None
    Heartbeat(env_path).beat()


def test_lookers_do_not_take_each_other_for_a_service(env_path):
    """Many who look at once, at a `.env` that nobody looks after, all see that."""
    Heartbeat(env_path).beat()
    with ThreadPoolExecutor(4) as lookers:
        seen = list(lookers.map(lambda _: attendance(env_path).is_running, range(4_000)))

    assert not any(seen)


def test_looking_keeps_no_service_from_starting(env_path):
    """A service starts while others look without a pause."""
    done = threading.Event()

    def look():
        while not done.is_set():
            attendance(env_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(20):
            with only_service(env_path):
                assert attendance(env_path).is_running
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_a_heartbeat_is_the_last_look(env_path):
    """A look is the time of change of the lock's file, which is made 0600 when it is missing."""
    before = os.umask(0o777)
    try:
        Heartbeat(env_path).beat()
    finally:
        os.umask(before)
    os.utime(lock_of(env_path), (0, 0))
    Heartbeat(env_path).beat()

    assert abs(datetime.now(UTC) - attendance(env_path).last_look) < timedelta(minutes=1)
    assert stat.S_IMODE(os.stat(lock_of(env_path)).st_mode) == 0o600


def test_a_heartbeat_beside_a_service(service, env_path):
    """`--once` beside a running service takes nothing away from it."""
    os.utime(lock_of(env_path), (0, 0))
    Heartbeat(env_path).beat()
    seen = attendance(env_path)

    assert seen.pid == service.pid_said
    assert seen.last_look.year > 1970


def test_once_leaves_word_where_no_service_runs(env_path):
    """It watches for half an hour; a service that has died just now does not."""
    with only_service(env_path):
        Heartbeat(env_path).beat()
    died = attendance(env_path)
    Heartbeat(env_path).beat_once()
    once = attendance(env_path)
    now = once.last_look

    assert (died.is_by_once, died.is_watched(now)) == (False, False)
    assert (once.is_by_once, once.is_running) == (True, False)
    assert once.is_watched(now + timedelta(minutes=29))
    assert not once.is_watched(now + timedelta(minutes=30))


def test_once_beside_a_service_leaves_its_word_alone(service, env_path):
    """The service's pid and place stay, and the look counts."""
    os.utime(lock_of(env_path), (0, 0))
    Heartbeat(env_path).beat_once()
    seen = attendance(env_path)

    assert (seen.pid, seen.listens_at) == (service.pid_said, "127.0.0.1:8765")
    assert seen.is_watched(datetime.now(UTC))


def test_a_service_starts_after_once(env_path):
    """What `--once` left is no pid, and gone with the service's own word."""
    Heartbeat(env_path).beat_once()
    with only_service(env_path):
        assert attendance(env_path).pid == os.getpid()


def test_a_heartbeat_is_known_to_its_own_process(env_path):
    """Where the folder takes no file, the process still knows when it last looked itself."""
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    heartbeat = Heartbeat(os.path.join(env_path, "no-folder", ".env"), lambda: noon)
    heartbeat.beat()

    assert heartbeat.last == noon


def test_note_after_start(env_path):
    """The last word that a service leaves counts, also a shorter one."""
    with only_service(env_path) as lock:
        note_service(lock, "0.0.0.0:65535")
        note_service(lock)

        assert attendance(env_path).listens_at == ""
        assert attendance(env_path).pid == os.getpid()

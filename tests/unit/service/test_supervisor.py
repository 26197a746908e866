"""What systemd is told: by real datagrams to a real socket, and nothing where nobody waits."""

import os
import socket
import uuid
from contextlib import suppress
from datetime import timedelta

import pytest

from broker_tokens.secrets import Secret
from broker_tokens.supervisor import Supervisor

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")

MINUTE = timedelta(minutes=1)
PID = 4711


class Inbox:
    """A supervisor's socket, and what came there."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def read(self):
        """Return the lines of the next datagram, none if there is none."""
        try:
            return self._socket.recv(65_536).decode().split("\n")
        except BlockingIOError:
            return []

    def close(self):
        """Take it away; its name in a folder stays, as that of a dead supervisor does."""
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def place(request, tmp_path, monkeypatch):
    """Where a supervisor listens, as the variable names it and as the socket wants it."""
    if request.param == "file":
        monkeypatch.chdir(tmp_path)  # a socket's name may have 107 bytes; a folder's has more
        return f"{tmp_path}/s", "s"
    if not os.path.exists("/proc/net/unix"):
        pytest.skip("abstract names are Linux's")
    name = f"supervisor-{uuid.uuid4().hex}"
    return f"@{name}", f"\0{name}"


@pytest.fixture
def inbox(place):
    """A supervisor that listens."""
    opened = Inbox(place[1])
    yield opened
    opened.close()


def test_ready_comes_once_and_with_the_first_beat(place, inbox):
    """READY=1 waits for the first beat, and no later one repeats it."""
    supervisor = Supervisor({"NOTIFY_SOCKET": place[0]}, PID)
    before = inbox.read()
    supervisor.after_beat("All is well.")
    first = inbox.read()
    supervisor.after_beat("It rains.")

    assert before == []
    assert first == ["READY=1", "STATUS=All is well."]
    assert inbox.read() == ["STATUS=It rains."]


def test_no_news_is_not_sent(place, inbox):
    """A beat without news sends nothing where no watchdog waits for it."""
    supervisor = Supervisor({"NOTIFY_SOCKET": place[0]}, PID)
    supervisor.after_beat("All is well.")
    inbox.read()
    supervisor.after_beat("All is well.")

    assert inbox.read() == []


def test_every_beat_feeds_the_watchdog(place, inbox):
    """With a watchdog each beat is a sign of life, news or not."""
    environ = {"NOTIFY_SOCKET": place[0], "WATCHDOG_USEC": "300000000", "WATCHDOG_PID": str(PID)}
    supervisor = Supervisor(environ, PID)
    supervisor.after_beat("All is well.")
    first = inbox.read()
    supervisor.after_beat("All is well.")

    assert first == ["READY=1", "STATUS=All is well.", "WATCHDOG=1"]
    assert inbox.read() == ["WATCHDOG=1"]


def test_the_end_is_told(place, inbox):
    """STOPPING=1 says that what follows is the end, not a crash."""
    Supervisor({"NOTIFY_SOCKET": place[0]}, PID).stopping()

    assert "STOPPING=1" in inbox.read()


def test_the_status_is_one_line_without_a_secret(place, inbox):
    """A line break would be a message of its own, and a secret would be shown to all."""
    secret = Secret("planted-secret-4b1f")
    supervisor = Supervisor({"NOTIFY_SOCKET": place[0]}, PID)
    supervisor.after_beat(f"It failed:\nREADY=1\n{secret.reveal()}" + " and so on" * 500)
    ready, status = inbox.read()

    assert ready == "READY=1"
    assert status.startswith("STATUS=It failed: READY=1 ")
    assert secret.reveal() not in status
    assert len(status) < 600


def test_a_ready_that_got_lost_is_sent_again(place):
    """A supervisor that was away for a moment, as at its own restart, learns all of it later."""
    supervisor = Supervisor({"NOTIFY_SOCKET": place[0]}, PID)
    supervisor.after_beat("All is well.")
    later = Inbox(place[1])
    supervisor.after_beat("All is well.")
    told = later.read()
    later.close()

    assert told == ["READY=1", "STATUS=All is well."]


@pytest.mark.parametrize(
    "address",
    ["", "/nowhere/at/all", "@nobody-listens-here", "relative", "vsock:2:1234", "/a\0b", "/" * 300],
)
def test_no_supervisor_disturbs_nobody(address):
    """Without a socket, or with one that cannot be reached, nothing happens."""
    environ = {"NOTIFY_SOCKET": address} if address else {}
    supervisor = Supervisor(environ, PID)

    supervisor.after_beat("All is well.")
    supervisor.stopping()


def test_a_supervisor_that_does_not_read_costs_a_second_at_most(place, inbox):
    """With a full queue the datagram is dropped; the loop goes on."""
    supervisor = Supervisor({"NOTIFY_SOCKET": place[0], "WATCHDOG_USEC": "1000000"}, PID)
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    filler.connect(place[1])
    with suppress(BlockingIOError):
        while True:
            filler.send(b"x")
    filler.close()

    supervisor.after_beat("All is well.")


@pytest.mark.parametrize(
    ("environ", "longest"),
    [
        ({}, MINUTE),
        ({"WATCHDOG_USEC": "300000000"}, MINUTE),
        ({"WATCHDOG_USEC": "40000000"}, timedelta(seconds=20)),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": str(PID)}, timedelta(seconds=20)),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": "1"}, MINUTE),
        ({"WATCHDOG_USEC": "0"}, MINUTE),
        ({"WATCHDOG_USEC": "soon"}, MINUTE),
        ({"WATCHDOG_USEC": "-1"}, MINUTE),
        ({"WATCHDOG_USEC": "18446744073709551615"}, MINUTE),
        ({"WATCHDOG_USEC": "9" * 5_000}, MINUTE),
    ],
)
def test_the_wait_is_half_of_what_the_watchdog_allows(environ, longest):
    """So one beat may come late; a watchdog meant for another process counts nothing."""
    assert Supervisor(environ, PID).longest_wait(MINUTE) == longest

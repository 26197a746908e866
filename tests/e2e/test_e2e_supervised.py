"""The daemon under a supervisor that speaks systemd's protocol."""

import os
import socket
import uuid

import pytest
from support.doors import LIMIT, LTP, SERVICE, TOKEN, can_be_powerless
from support.scripted_upstox import Hang

from broker_tokens.simulator.wire import Response

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="needs Linux")


@pytest.fixture
def inbox():
    """A supervisor's socket; its name is what NOTIFY_SOCKET says after the @."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(f"\0supervisor-{uuid.uuid4().hex}")
        opened.settimeout(LIMIT)
        yield opened


def supervised(inbox, **more):
    """Return the variables that systemd gives to a unit of Type=notify."""
    return {"NOTIFY_SOCKET": "@" + inbox.getsockname()[1:].decode(), **more}


def test_ready_after_the_first_tick(rotating, inbox):
    """When systemd hears READY=1, the renewal that was due at the start is in `.env`."""
    rotating.log_in()
    rotating.set(access_token="")
    environ = supervised(inbox, WATCHDOG_USEC="300000000")
    with rotating.start(*SERVICE, environ=environ) as running:
        ready, status, alive = inbox.recv(65_536).decode().split("\n")
        is_live = rotating.broker.is_live(rotating.values["access_token"])
        running.stop()

    assert (ready, alive, is_live) == ("READY=1", "WATCHDOG=1", True)
    assert status.startswith("STATUS=The token lives until ")
    assert "Next: renew silently with the refresh token (" in status
    assert "STOPPING=1" in inbox.recv(65_536).decode().split("\n")


def test_ready_although_the_first_tick_fails(due, inbox):
    """A broker that is down does not keep the service from being up."""
    due.broker.answers[TOKEN] = Response(503, {}, b"down")
    with due.start(*SERVICE, environ=supervised(inbox)) as running:
        ready, status = inbox.recv(65_536).decode().split("\n")
        running.stop()

    assert ready == "READY=1"
    assert status.startswith("STATUS=No live token is stored. The last try failed: ")


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
def test_what_keeps_a_renewal_from_being_tried_is_in_the_status(due, inbox):
    """A file that cannot be written leaves no failure in the state; the status names it."""
    due.env_file.chmod(0o400)
    with due.start(*SERVICE, environ=supervised(inbox), powerless=True) as running:
        _, status = inbox.recv(65_536).decode().split("\n")
        running.stop()

    assert status.startswith("STATUS=No live token is stored. Next: renew silently")
    assert f"{due.env_file} cannot be written" in status


def test_a_stop_during_the_first_tick(doors, inbox):
    """Who is stopped before it was ever ready tells of its end, and never that it is ready."""
    doors.broker.answers[LTP] = Hang()
    doors.write(access_token="planted-opaque-token-31")
    with doors.start(*SERVICE, environ=supervised(inbox)) as running:
        doors.broker.await_request(LTP)
        running.stop()

    assert inbox.recv(65_536).decode().split("\n")[0] == "STOPPING=1"


def test_commands_cannot_speak_for_the_service(rotating, inbox):
    """The user's own command sees nothing of what systemd gave to the service alone."""
    rotating.log_in()
    seen = rotating.folder / "seen"
    rotating.set(UPSTOX_ON_RENEW=f"sh -c 'env > {seen}.new && mv {seen}.new {seen}'")
    given = {"WATCHDOG_USEC": "300000000", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    with rotating.start(*SERVICE, environ=supervised(inbox, **given, KEPT="yes")) as running:
        running.wait_for("UPSTOX_ON_RENEW has run.")
        running.stop()
    names = {line.partition("=")[0] for line in seen.read_text(encoding="utf-8").splitlines()}

    assert "KEPT" in names
    assert not names & {"NOTIFY_SOCKET", *given}

"""Looked at from outside: the status for people, for programs and for monitoring systems."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from support.doors import ONCE, SERVICE, UPSTOX_TOKEN, can_be_powerless
from support.hostile import jwt


def shown(doors):
    return json.loads(doors.run(*UPSTOX_TOKEN, "status", "--json").out)


def age(instant):
    return datetime.now(UTC) - datetime.fromisoformat(instant)


def test_the_status_sees_the_service(doors):
    """Pid, place and last look while it runs; after that the last look alone."""
    doors.log_in()
    with doors.start(*SERVICE, "--listen", "0") as running:
        running.wait_for("Next:")
        during = shown(doors)["attendance"]
        text = doors.run(*UPSTOX_TOKEN, "status").out
        running.stop()
    after = shown(doors)["attendance"]

    assert during["pid"] == running.process.pid
    assert during["listens_at"].startswith("127.0.0.1:")
    assert f"service (pid {running.process.pid}), listens at {during['listens_at']}" in text
    assert age(during["last_look"]) < timedelta(minutes=5)
    assert (after["pid"], after["listens_at"]) == (None, None)
    assert after["last_look"] == during["last_look"]


def test_the_status_sees_once(doors):
    """`--once` leaves word that it has looked; a library that only reads a token does not."""
    doors.log_in()
    doors.manager().get_current_token()
    before = shown(doors)["attendance"]
    doors.run(*ONCE)
    after = shown(doors)["attendance"]

    assert before == {"is_watched": False, "pid": None, "listens_at": None, "last_look": None}
    assert after["is_watched"]
    assert age(after["last_look"]) < timedelta(minutes=5)


def test_looking_leaves_no_trace(doors):
    """The status makes no file beside the `.env`."""
    before = os.listdir(doors.folder)
    doors.run(*UPSTOX_TOKEN, "status")
    doors.run(*UPSTOX_TOKEN, "status", "--check")

    assert os.listdir(doors.folder) == before


def test_the_check_of_a_monitoring_system(doors):
    """0 while the coming session is covered, 2 where nobody can get a token; one line, no more."""
    doors.write(access_token=jwt(exp=int((datetime.now(UTC) + timedelta(days=30)).timestamp())))
    covered = doors.run(*UPSTOX_TOKEN, "status", "--check")
    doors.write(UPSTOX_CLIENT_ID=None)
    hopeless = doors.run(*UPSTOX_TOKEN, "status", "--check")

    assert (covered.code, covered.err, covered.out.count("\n")) == (0, "", 1)
    assert covered.out.startswith("UPSTOX OK - ")
    assert (hopeless.code, hopeless.err, hopeless.out.count("\n")) == (2, "", 1)
    assert hopeless.out.startswith("UPSTOX CRITICAL - ")


BROKEN = {
    "no .env": lambda doors: doors.env_file.unlink(),
    "a wrong setting": lambda doors: doors.set(UPSTOX_SESSION="sometimes"),
    "a folder": lambda doors: (doors.env_file.unlink(), doors.env_file.mkdir()),
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_the_check_of_what_cannot_be_looked_at(doors, breaks):
    """UNKNOWN is one line and exit code 3, too."""
    breaks(doors)
    ended = doors.run(*UPSTOX_TOKEN, "status", "--check", environ={"UPSTOX_ENV_FILE": ""})

    assert (ended.code, ended.err, ended.out.count("\n")) == (3, "", 1)
    assert ended.out.startswith("UPSTOX UNKNOWN - ")


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
def test_the_check_of_what_may_not_be_read(doors):
    """A monitoring account without access is told so."""
    doors.env_file.chmod(0o000)
    ended = doors.run(*UPSTOX_TOKEN, "status", "--check", powerless=True)

    assert (ended.code, ended.err) == (3, "")
    assert str(doors.env_file) in ended.out

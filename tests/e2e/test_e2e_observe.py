"""Looked at from outside: the status for people, for programs and for monitoring systems."""

import json
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.doors import (
    ONCE,
    PASTE,
    ROOT,
    SERVICE,
    SIGHUP,
    TOKEN,
    UPSTOX_TOKEN,
    can_be_powerless,
    get,
)
from support.hostile import jwt

from broker_tokens.simulator.wire import Response

STRATEGY = "from upstox_token_manager import get_current_token; get_current_token()"


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


def test_once_with_a_wrong_setting_has_looked_after_nothing(doors):
    """What cannot even begin is no reason to be at ease."""
    doors.set(UPSTOX_SESSION="sometimes")
    ended = doors.run(*ONCE)
    doors.set(UPSTOX_SESSION="09:00-15:30")

    assert ended.code == 78
    assert not shown(doors)["attendance"]["is_watched"]


def test_credentials_of_the_service_alone(doors):
    """With the app's keys in the service's own environment, a look from elsewhere is no alarm."""
    keys = {name: doors.values[name] for name in ("UPSTOX_CLIENT_ID", "UPSTOX_CLIENT_SECRET")}
    doors.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None)
    with doors.start(*SERVICE, environ=keys) as running:
        running.wait_for("Next:")
        during = shown(doors)["outlook"]["sentence"]
        running.stop()

    assert "Client ID/Secret not found" not in during
    assert "Client ID/Secret not found" in shown(doors)["outlook"]["sentence"]


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


def test_a_listening_service_can_be_watched(doors):
    """The loop beats, a live token is stored, and the figures are there; no word in the log."""
    doors.log_in()
    with doors.start(*SERVICE, "--listen", "0") as running:
        place = running.wait_for("Listening at").partition("Listening at ")[2].split()[0]
        running.wait_for("Next:")
        answers = {path: get(f"http://{place}{path}") for path in ("/healthz", "/readyz")}
        figures = get(f"http://{place}/metrics")
        ended, _ = running.stop()

    assert {path: (a.status_code, a.text) for path, a in answers.items()} == {
        "/healthz": (200, "ok\n"),
        "/readyz": (200, "ready\n"),
    }
    assert "\nupstox_token_live 1\n" in figures.text
    assert "\nupstox_token_last_look_timestamp_seconds " in figures.text
    assert "refused" not in (figures.text + ended.said).lower()


def record(doors):
    text = (doors.folder / ".env.audit.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_renewal_by_hand_beside_a_service_is_recorded_once(rotating):
    """By the program that did it; the service that notices the token only tells of it."""
    rotating.log_in()
    with rotating.start(*SERVICE) as running:
        running.wait_for("Next:")
        assert rotating.run(*UPSTOX_TOKEN, "renew").code == 0
        running.send(SIGHUP)
        running.wait_for("New token", "renewed silently")
        running.stop()
    assert rotating.run(*UPSTOX_TOKEN, "logout").code == 0
    lines = record(rotating)

    assert [line["event"] for line in lines] == ["logged_in", "renewed", "logged_out"]
    assert [line["program"] for line in lines[1:]] == ["broker_tokens", "broker_tokens"]
    assert len({line["pid"] for line in lines}) == 3


def test_a_renewal_that_all_want_is_recorded_once(rotating):
    """A service and three strategies meet a dead token at once: one renews, one line is left."""
    rotating.log_in()
    with rotating.start(*SERVICE) as running, ExitStack() as strategies:
        running.wait_for("Next:")
        rotating.set(access_token="")
        started = [
            strategies.enter_context(rotating.start("-c", STRATEGY, may_raise=True))
            for _ in range(3)
        ]
        running.send(SIGHUP)
        codes = [strategy.wait().code for strategy in started]
        running.wait_for("New token", "renewed silently")
        running.stop()

    assert codes == [0, 0, 0]
    assert [line["event"] for line in record(rotating)] == ["logged_in", "renewed"]


def test_what_cron_meets_again_is_recorded_once(due):
    """A broker that is down all morning is one line, not one each ten minutes."""
    due.broker.answers[TOKEN] = Response(503)
    codes = [due.run(*ONCE).code]
    state = due.folder / ".env.state.json"
    for _ in range(2):
        state.unlink()  # the backoff is over
        codes.append(due.run(*ONCE).code)
    (line,) = record(due)

    assert codes == [75, 75, 75]
    assert (line["event"], line["program"]) == ("failed", "token_refresh_service.py")
    assert "503" in line["reason"]


def test_what_is_refused_at_the_keyboard(doors):
    """A dead token that is pasted is a refusal, by the program that was used."""
    ended = doors.run(*PASTE, stdin="planted-dead-token\n")
    (line,) = record(doors)

    assert ended.code == 77
    assert (line["event"], line["way"]) == ("refused", "paste")
    assert line["program"] == "init_tokens.py"


def test_status_names_what_is_installed(doors):
    """A unit of the user's for this `.env` is found, as text and for programs."""
    folder = Path(os.environ["HOME"], ".config/systemd/user")
    folder.mkdir(parents=True)
    unit = folder / "upstox-token-refresh.service"
    program = f"{sys.executable} {ROOT / 'token_refresh_service.py'}"
    unit.write_text(f"[Service]\nExecStart={program} --env-file {doors.env_file}\n", "utf-8")
    text = doors.run(*UPSTOX_TOKEN, "status").out
    (found,) = json.loads(doors.run(*UPSTOX_TOKEN, "status", "--json").out)["schedulers"]

    assert f"scheduler:     {found}" in text
    assert found.startswith("systemd (")
    assert str(unit) in found

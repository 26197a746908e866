"""What people read: log lines, errors, and the status."""

import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.house import ist, running_house
from unit.plan.looks import look_at

from broker_tokens.attendance import Attendance
from broker_tokens.cli import status
from broker_tokens.cli.output import guarded
from broker_tokens.errors import (
    ConfigurationError,
    LoginRequired,
    StoreError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.event_log import log_event
from broker_tokens.model import PersonNeeded, RenewalFailed, Stage, TokenDied, TokenStored, Way
from broker_tokens.secrets import Secret
from broker_tokens.waker import Stopping

ROOT = Path(__file__).resolve().parents[3]
OPENS = ist("2026-11-20 09:00")
NOON = ist("2026-11-20 12:00")
NOBODY = Attendance(None, "", None)
URL = "https://login.example/?client_id=x"

EVENTS = {
    "a renewal": (
        TokenStored(
            ist("2026-11-20 03:31"), Way.REFRESH_GRANT, ist("2026-11-21 03:30"), "1a2b3c4d"
        ),
        "INFO",
        ["silently", "Sat 21 Nov 2026 03:30 IST", "23 h 59 min", "1a2b3c4d"],
    ),
    "the first word of the day": (
        PersonNeeded(ist("2026-11-20 08:00"), Stage.ASK, ist("2026-11-20 08:00"), OPENS, URL),
        "WARNING",
        ["login is needed", "in 1 h 0 min", "python init_tokens.py", URL],
    ),
    "the alarm": (
        PersonNeeded(OPENS, Stage.ALARM, OPENS, OPENS, ""),
        "ERROR",
        ["ALARM", "no token for today", "python init_tokens.py"],
    ),
    "half an hour into the session": (
        PersonNeeded(ist("2026-11-20 09:30"), Stage.REMIND, ist("2026-11-20 09:30"), OPENS, URL),
        "ERROR",
        ["Still no token", "09:00 IST", URL],
    ),
    "a failure that is tried again": (
        RenewalFailed(OPENS, "Upstox has trouble. Wait.", ist("2026-11-20 09:10")),
        "WARNING",
        ["Upstox has trouble", "Next try: Fri 20 Nov 2026 09:10 IST"],
    ),
    "a failure that is final": (RenewalFailed(OPENS, "Refused.", None), "WARNING", ["Refused."]),
    "an early death": (TokenDied(OPENS, "1a2b3c4d"), "WARNING", ["refuses", "1a2b3c4d"]),
}


@pytest.mark.parametrize(("event", "level", "words"), EVENTS.values(), ids=EVENTS)
def test_an_event_is_one_line_that_says_what_to_do(event, level, words, caplog):
    """At 09:05 on a bad day the log is all there is."""
    logging.getLogger("broker_tokens").propagate = True
    with caplog.at_level(logging.INFO, "broker_tokens"):
        log_event(event)
    (record,) = caplog.records

    assert record.levelname == level
    assert [word for word in words if word not in record.getMessage()] == []


ENDS = {
    "a person must act": (LoginRequired("Cause.", "Do this.", login_url=URL), 77, [URL]),
    "a refusal": (TokenRejected("Cause.", "Do this."), 77, []),
    "a wrong setting": (ConfigurationError("Cause.", "Do this."), 78, []),
    "a file": (StoreError("Cause.", "Do this."), 78, []),
    "a full disk": (StoreError("Cause.", "Do this.", temporary=True), 75, []),
    "a network": (TemporaryFailure("Cause.", "Do this."), 75, []),
    "our fault": (TokenError("Cause.", "Do this."), 1, []),
}


@pytest.mark.parametrize(("error", "code", "more"), ENDS.values(), ids=ENDS)
def test_an_error_is_a_cause_an_advice_and_an_exit_code(error, code, more, capsys):
    """No traceback, nothing on standard output."""

    def fail():
        raise error

    ended = guarded(fail)
    shown = capsys.readouterr()

    assert ended == code
    assert shown.out == ""
    assert [word for word in ("Cause.", "Do this.", *more) if word not in shown.err] == []
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Stopping])
def test_ctrl_c_is_no_error(interruption, capsys):
    """It ends with the code that shells give it."""

    def stop():
        raise interruption

    assert guarded(stop) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_a_defect_of_ours_shows_its_place_and_no_secret(capsys):
    """The exception's own text, which may hold anything, is not printed."""
    secret = Secret("planted-secret-value")

    def fail():
        raise ValueError(f"bad {secret.reveal()}")

    assert guarded(fail) == 1
    shown = capsys.readouterr().err
    assert "ValueError" in shown
    assert __name__ in shown
    assert "planted" not in shown


def code_of(look, seen=NOBODY):
    return status.exit_code(status.Report(look, seen))


def text_of(look, seen=NOBODY, schedulers=None):
    return status.as_text(status.Report(look, seen, schedulers))


WATCHERS = {
    "a service": (
        Attendance(4711, "", NOON - timedelta(seconds=20)),
        "by a service (pid 4711), last look 20 s ago",
    ),
    "a service that listens": (
        Attendance(4711, "127.0.0.1:8765", NOON - timedelta(seconds=20)),
        "by a service (pid 4711), listens at 127.0.0.1:8765, last look 20 s ago",
    ),
    "a service that hangs": (
        Attendance(4711, "", NOON - timedelta(hours=2)),
        "by a service (pid 4711), last look 2 h 0 min ago: it hangs",
    ),
    "a service that left no word": (
        Attendance(0, "", NOON),
        "by a service (pid unknown), last look 0 s ago",
    ),
    "--once": (
        Attendance(None, "", NOON - timedelta(minutes=7), True),
        "by --once, last look 7 min ago",
    ),
    "a service that was killed": (
        Attendance(None, "", NOON - timedelta(minutes=1)),
        "by nobody, last look 1 min ago",
    ),
    "nobody any more": (
        Attendance(None, "", NOON - timedelta(days=3)),
        "by nobody, last look 3 days 0 h ago",
    ),
    "nobody ever": (NOBODY, "by nobody"),
}


@pytest.mark.parametrize(("seen", "words"), WATCHERS.values(), ids=WATCHERS)
def test_status_shows_who_looks_after_it(seen, words):
    """Who, where it listens, and how long ago it looked."""
    assert f"looked after:  {words}\n" in text_of(look_at(NOON), seen) + "\n"


def test_status_shows_the_schedulers_that_were_found():
    """Those installed for this `.env`; no line where nobody has searched."""
    assert "scheduler:     cron (crontab of trader)" in text_of(
        look_at(NOON), schedulers=["cron (crontab of trader)"]
    )
    assert "scheduler:     none" in text_of(look_at(NOON), schedulers=[])
    assert "scheduler" not in text_of(look_at(NOON))


def test_status_of_a_day(tmp_path):
    """Missing, live, expired, unchecked: each state with its exit code."""
    with running_house(tmp_path, opaque_tokens=True) as house:
        seen = [house.service().look()]
        house.log_in()
        seen.append(house.service().look())
        house.clock.advance(days=1)
        seen.append(house.service().look())
        house.set(access_token="from-another-tool")
        seen.append(house.service().look())

    assert [(status.state_of(look), code_of(look)) for look in seen] == [
        ("missing", 77),
        ("live", 0),
        ("expired", 77),
        ("unchecked", 75),
    ]
    assert "in 19 h 30 min" in text_of(seen[1])
    assert "past" in text_of(seen[2])


def test_status_of_credentials_that_the_service_alone_has():
    """Whoever looks after the file has them, so nothing is wrong with the configuration."""
    look = look_at(NOON, token=None, expires_at=None, UPSTOX_CLIENT_ID="")
    watched = Attendance(4711, "", NOON)

    assert (code_of(look), code_of(look, watched)) == (78, 77)
    assert "so nobody can log in" in text_of(look)
    assert "what looks after it has them" in text_of(look, watched)


def test_status_shows_the_last_failure(tmp_path):
    """What went wrong and when the next try is."""
    with running_house(tmp_path, "2026-11-20 04:00") as house:
        house.set(UPSTOX_REFRESH_TOKEN="any", UPSTOX_API_URL="http://127.0.0.1:9")
        house.service().tick()
        house.clock.advance(seconds=1)
        look = house.service().look()

    assert "refuses the connection" in text_of(look)
    assert "renew silently" in text_of(look)
    assert look.state.retry_at - look.now <= timedelta(seconds=5)
    assert code_of(look) == 75


@pytest.mark.parametrize("door", ["init_tokens.py", "token_refresh_service.py"])
def test_a_python_that_is_too_old_is_told(door):
    """Ubuntu 22.04 has 3.10: the version and its place are named, and nothing else."""
    pretend = "import runpy, sys; sys.version_info = (3, 10, 13, 'final', 0); "
    run_it = f"runpy.run_path({str(ROOT / door)!r}, run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", pretend + run_it],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == f"Python 3.11 or newer is needed; this is 3.10 ({sys.executable}).\n"

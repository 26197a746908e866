"""The daemon as a process: starts, logs, hears signals, leaves others alone, and ends."""

import os
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from support.doors import (
    INIT,
    LIMIT,
    LOG_FILE,
    LTP,
    SERVICE,
    SIGHUP,
    TOKEN,
    consent,
)
from support.scripted_upstox import Hang, ScriptedUpstox

from broker_tokens.clock import IST
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.simulator.wire import Response

# The promise is one second; a busy machine gets some more.
PROMPT = 3

OPAQUE = "planted-opaque-token-31"


def started(running):
    """Wait until it is up and has planned its next step."""
    running.wait_for("Service started", f"pid {running.process.pid}")
    return running.wait_for("Next:")


def in_two_hours():
    """Return an IST time of day two hours ahead, as settings hold it."""
    return (datetime.now(UTC).astimezone(IST) + timedelta(hours=2)).strftime("%H:%M")


def test_starts_and_stops(doors):
    """It says that it started and what comes next; SIGTERM ends it at once with exit code 0."""
    with doors.start(*SERVICE) as running:
        started(running)
        ended, seconds = running.stop()

    assert ended.code == 0
    assert ended.out == ""
    assert "Service stopped." in ended.err
    assert seconds < PROMPT


def test_ctrl_c(doors):
    """Ctrl-C is no defect: it ends as on SIGTERM."""
    with doors.start(*SERVICE) as running:
        started(running)
        running.send(signal.SIGINT)
        ended = running.wait()

    assert ended.code == 0
    assert "Service stopped." in ended.err


def test_renews_at_the_start(rotating):
    """A dead token is renewed silently at start-up, whatever the hour."""
    rotating.log_in()
    rotating.set(access_token="")
    with rotating.start(*SERVICE) as running:
        running.wait_for("New token", "renewed silently")
        started_line = running.wait_for("Next: renew silently")
        running.stop()

    assert "IST" in started_line
    assert rotating.broker.is_live(rotating.values["access_token"])


def test_a_second_instance_leaves(doors):
    """A second daemon of the same `.env` exits 75, names the first one's pid, and disturbs none."""
    with doors.start(*SERVICE) as first:
        started(first)
        second = doors.run(*SERVICE)
        assert first.process.poll() is None
        ended, _ = first.stop()
    with doors.start(*SERVICE) as running:
        started(running)
        running.stop()

    assert second.code == 75
    assert str(first.process.pid) in second.err
    assert ended.code == 0


def test_once_beside_the_daemon(rotating):
    """`--once` from cron works beside a running daemon."""
    rotating.log_in()
    with rotating.start(*SERVICE) as running:
        started(running)
        once = rotating.run(*SERVICE, "--once")
        running.stop()

    assert once.code == 0


def test_sighup_wakes_it_and_a_foreign_token_is_noticed(doors):
    """A new token that somebody else put into `.env` is noticed without a restart."""
    with doors.start(*SERVICE) as running:
        started(running)
        token = doors.broker.mint()
        doors.set(access_token=token)
        running.send(SIGHUP)
        line = running.wait_for("New token")
        ended, _ = running.stop()

    assert "found in .env" in line
    assert Secret(token).fingerprint in line
    assert ended.code == 0
    assert doors.values["UPSTOX_TOKEN_EXPIRES_AT"]


def test_goes_on_after_a_login(doors):
    """Once `init_tokens.py` has run beside it, the daemon says so and carries on."""
    with doors.start(*SERVICE) as running:
        started(running)
        address = consent(doors.manager().get_authorization_url())
        assert doors.run(*INIT, "--no-browser", stdin=address + "\n").code == 0
        running.send(SIGHUP)
        fingerprint = Secret(doors.values["access_token"]).fingerprint
        running.wait_for(fingerprint, limit=5)
        ended, _ = running.stop()

    assert ended.code == 0


def test_sighup_rereads_the_settings(rotating):
    """After SIGHUP the next request goes to the broker that the `.env` now names."""
    rotating.log_in()
    other = ScriptedUpstox(refresh=RefreshGrant.ROTATING)
    rotating.others.append(other)
    with SimulatorServer(other) as server, rotating.start(*SERVICE) as running:
        started(running)
        rotating.set(UPSTOX_API_URL=server.url, access_token="")
        running.send(SIGHUP)
        other.await_request(TOKEN)
        running.wait_for("refuses to renew")
        running.stop()

    assert rotating.broker.count(TOKEN) == 1


@pytest.mark.parametrize("broken", ["UPSTOX_REFRESH_TIME=25:00", "UPSTOX_CLIENT_SECRET=", None])
def test_a_broken_env_does_not_kill_it(doors, broken):
    """A wrong setting, or no file at all, is reported; once mended it goes on."""
    text = doors.env_file.read_text(encoding="utf-8")
    with doors.start(*SERVICE) as running:
        started(running)
        if broken is None:
            doors.env_file.unlink()
            named, mended = str(doors.env_file), "Next:"
        else:
            doors.set(**dict([broken.split("=")]))
            named, mended = broken.partition("=")[0], "in order again"
        running.send(SIGHUP)
        running.wait_for("ERROR", named)
        doors.env_file.write_text(text, encoding="utf-8")
        running.send(SIGHUP)
        running.wait_for(mended)
        ended, _ = running.stop()

    assert ended.code == 0


def test_the_same_trouble_is_reported_once(doors):
    """A trouble that lasts does not fill the log at each wake."""
    with doors.start(*SERVICE) as running:
        started(running)
        doors.set(UPSTOX_REFRESH_TIME="25:00")
        for _ in range(3):
            running.send(SIGHUP)
        running.wait_for("ERROR", "25:00")
        doors.set(UPSTOX_REFRESH_TIME="02:00")
        running.send(SIGHUP)
        running.wait_for("in order again")
        ended, _ = running.stop()

    assert ended.err.count("25:00") == 1


def test_a_slip_in_the_env_does_not_stop_renewal(rotating):
    """The settings of before hold on until it is mended."""
    rotating.log_in()
    with rotating.start(*SERVICE) as running:
        started(running)
        rotating.set(UPSTOX_EXCHANGE="N S E", access_token="")
        running.send(SIGHUP)
        running.wait_for("ERROR", "UPSTOX_EXCHANGE")
        running.wait_for("New token, renewed silently")
        ended, _ = running.stop()

    assert ended.code == 0


def test_time_of_the_command_line(rotating):
    """`--time` outranks the settings, and is IST."""
    rotating.log_in()
    due = in_two_hours()
    is_before_the_cut = datetime.now(UTC).astimezone(IST) + timedelta(hours=2) < (
        rotating.manager().token_expiry
    )
    with rotating.start(*SERVICE, "--time", due) as running:
        line = started(running)
        running.stop()

    assert "renew silently" in line
    assert (due if is_before_the_cut else "03:31") in line


def test_the_log_file(doors):
    """The log is private, in IST, beside the `.env`, and holds what the terminal showed."""
    with doors.start(*SERVICE) as running:
        started(running)
        ended, _ = running.stop()
    text = doors.log.read_text(encoding="utf-8")

    assert doors.log.stat().st_mode & 0o777 == 0o600
    assert text == ended.err
    assert " IST INFO Service started" in text


def test_the_log_file_rotates(doors):
    """A log that has grown large is rotated; the old one is private too."""
    doors.log.write_text("old line\n" * 120_000, encoding="utf-8")
    doors.log.chmod(0o600)
    with doors.start(*SERVICE) as running:
        started(running)
        running.stop()
    files = sorted(path.name for path in doors.folder.glob(f"{LOG_FILE}*"))

    assert files == [LOG_FILE, f"{LOG_FILE}.1"]
    assert doors.log.stat().st_size < 10_000
    assert {(doors.folder / name).stat().st_mode & 0o777 for name in files} == {0o600}


def test_under_the_journal_there_is_no_log_file(doors):
    """When standard error is the journal's, no file is written and lines carry no time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        with doors.start(*SERVICE, environ=journal, stderr=theirs.fileno()) as running:
            ours.settimeout(LIMIT)
            said = b""
            while b"Next:" not in said:
                said += ours.recv(4096)
            running.stop()

    assert not doors.log.exists()
    assert said.startswith(b"INFO Service started")


def test_a_journal_of_somebody_else(doors):
    """A JOURNAL_STREAM that is not our standard error is an inherited one: the file is written."""
    with doors.start(*SERVICE, environ={"JOURNAL_STREAM": "8:1"}) as running:
        started(running)
        running.stop()

    assert doors.log.exists()


def test_stop_while_the_broker_hangs_at_a_probe(doors):
    """A probe that gets no answer is given up at SIGTERM."""
    hold = doors.broker.answers[LTP] = Hang()
    doors.broker.secrets.add(OPAQUE)
    doors.write(access_token=OPAQUE)
    before = doors.env_file.read_bytes()
    with doors.start(*SERVICE) as running:
        doors.broker.await_request(LTP)
        ended, seconds = running.stop()
    hold.release.set()

    assert ended.code == 0
    assert seconds < PROMPT
    assert doors.env_file.read_bytes() == before


def test_stop_during_a_refresh_grant(rotating):
    """A renewal under way is finished and saved before SIGTERM ends it: the old token is spent."""
    rotating.log_in()
    spent = rotating.values["UPSTOX_REFRESH_TOKEN"]
    rotating.set(access_token="")
    hold = rotating.broker.answers[TOKEN] = Hang()
    with rotating.start(*SERVICE) as running:
        rotating.broker.await_request(TOKEN, 2)
        running.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.3)
        hold.release.set()
        ended = running.wait()

    assert ended.code == 0
    assert rotating.values["UPSTOX_REFRESH_TOKEN"] != spent
    assert rotating.broker.is_live(rotating.values["access_token"])


def test_a_failing_broker_is_reported_with_the_next_try(rotating):
    """A temporary failure is one warning that names the next try; the daemon carries on."""
    rotating.log_in()
    rotating.set(access_token="")
    rotating.broker.answers[TOKEN] = Response(503)
    with rotating.start(*SERVICE) as running:
        line = running.wait_for("WARNING", "503")
        del rotating.broker.answers[TOKEN]
        running.wait_for("New token", "renewed silently")
        running.stop()

    assert "Next try" in line


def test_an_env_file_open_to_others_is_mentioned(doors):
    """A `.env` that other users can read is worth a warning with the command that mends it."""
    doors.env_file.chmod(0o644)
    with doors.start(*SERVICE) as running:
        running.wait_for("WARNING", "chmod 600")
        running.stop()


def test_as_nohup_starts_it(doors):
    """With `nohup`, SIGHUP is ignored or a wake-up, never the end."""
    with doors.start(*SERVICE) as running:
        started(running)
        for _ in range(5):
            running.send(SIGHUP)
        assert running.process.poll() is None
        ended, _ = running.stop()

    assert ended.code == 0

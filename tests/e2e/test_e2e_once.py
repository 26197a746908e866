"""`token_refresh_service.py --once`: one tick, one exit code, one clear sentence."""

import subprocess
import sys
from datetime import timedelta

import pytest
from support.doors import (
    LTP,
    ONCE,
    SERVICE,
    TOKEN,
    assert_one_clear_message,
    free_port,
)
from support.house import running_house

from broker_tokens.cli.service import exit_code
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.wire import Response

FORCE = (*ONCE, "--force")


def test_a_live_token(doors):
    """A live token is nothing to do: exit 0, silence, no request, the `.env` untouched.

    The first run of a day asks for holidays, and in market hours whether the token lives.
    """
    doors.log_in()
    doors.run(*ONCE)
    before, requests = doors.env_file.read_bytes(), len(doors.broker.arrived)
    ended = doors.run(*ONCE)

    assert (ended.code, ended.said) == (0, "")
    assert len(doors.broker.arrived) == requests
    assert doors.env_file.read_bytes() == before


def test_a_renewal(rotating):
    """Without an access token the refresh grant brings one, and exit 0 says it is stored."""
    rotating.log_in()
    spent = rotating.values["UPSTOX_REFRESH_TOKEN"]
    rotating.set(access_token="")
    ended = rotating.run(*ONCE)

    assert ended.code == 0
    assert rotating.broker.is_live(rotating.values["access_token"])
    assert rotating.values["UPSTOX_REFRESH_TOKEN"] != spent
    assert rotating.env_file.read_text(encoding="utf-8").startswith("# kept by hand\n")
    assert rotating.env_file.stat().st_mode & 0o777 == 0o600


def test_once_again_is_cheap(rotating):
    """Run every ten minutes from cron, it asks the broker once a day and not each time."""
    rotating.log_in()
    codes = {rotating.run(*ONCE).code for _ in range(3)}

    assert codes == {0}
    assert rotating.broker.count(TOKEN) == 1


def test_a_refused_grant(due):
    """A refusal is a person's business (77), said once; the refused token is not sent again."""
    before = due.env_file.read_bytes()
    first = due.run(*ONCE)
    due.run(*ONCE)

    assert first.code == 77
    assert_one_clear_message(first, "refuses to renew")
    assert due.broker.count(TOKEN) == 1
    assert due.env_file.read_bytes() == before


def test_the_broker_refuses_the_stored_token(doors):
    """A token put there by hand that the broker refuses: a person must act."""
    doors.broker.secrets.add("planted-opaque-token-31")
    doors.write(access_token="planted-opaque-token-31")
    ended = doors.run(*ONCE)

    assert ended.code == 77
    assert_one_clear_message(ended, "Token is expired or invalid")


def test_a_token_put_there_by_hand(doors):
    """A live token without an expiry beside it is given its true one; the file stays else."""
    token = doors.broker.mint()
    doors.write(access_token=token)
    before = doors.env_file.read_text(encoding="utf-8")
    ended = doors.run(*ONCE)
    after = doors.env_file.read_text(encoding="utf-8")

    assert ended.code == 0
    assert after.startswith(before)
    assert after.removeprefix(before).startswith("UPSTOX_TOKEN_EXPIRES_AT=")


def test_force_with_a_live_token(rotating):
    """A renewal that fails by force keeps the live token and still says 75."""
    token = rotating.log_in()
    rotating.broker.answers[TOKEN] = Response(503)
    before = rotating.env_file.read_bytes()
    ended = rotating.run(*FORCE)

    assert ended.code == 75
    assert_one_clear_message(ended, "503")
    assert "still live" in ended.err
    assert rotating.env_file.read_bytes() == before
    assert rotating.manager().get_current_token() == token


def test_force_renews_at_any_hour(rotating):
    """`--force` renews although nothing is due."""
    rotating.log_in()
    refresh_token = rotating.values["UPSTOX_REFRESH_TOKEN"]
    ended = rotating.run(*FORCE)

    assert ended.code == 0
    assert rotating.broker.count(TOKEN) == 2
    assert rotating.values["UPSTOX_REFRESH_TOKEN"] != refresh_token


def test_force_without_a_refresh_token(doors):
    """`--force` without a refresh token says so by the text that people look up."""
    ended = doors.run(*FORCE)

    assert ended.code == 77
    assert ended.err.startswith("Refresh token not found")
    assert "init_tokens.py" in ended.err
    assert "/v2/login/authorization/dialog?" in ended.err


def test_a_failure_is_said_once(due):
    """Cron mails whatever is printed: a failure is one sentence, not the log's line as well."""
    due.broker.answers[TOKEN] = Response(503)
    ended = due.run(*ONCE)

    assert ended.err.count("503") == 1


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ("2026-11-20 03:29", 0),
        ("2026-11-20 07:59", 0),
        ("2026-11-20 08:00", 77),
        ("2026-11-20 09:05", 77),
        ("2026-11-20 15:29", 77),
        ("2026-11-20 15:30", 0),
        ("2026-11-21 10:00", 0),
    ],
)
def test_exit_code_by_the_hour(tmp_path, now, code):
    """Without any token, 77 from the approval time to the session's end of trading days only."""
    with running_house(tmp_path, now) as house:
        outcomes = [house.service().tick() for _ in range(2)]

    assert [exit_code(outcome) for outcome in outcomes] == [code, code]


def test_exit_code_after_a_login(tmp_path):
    """A login turns 77 into 0, and the next day's approval time turns it back."""
    with running_house(tmp_path, "2026-11-19 08:30") as house:
        codes = [exit_code(house.service().tick())]
        house.log_in()
        codes.append(exit_code(house.service().tick()))
        house.clock.now += timedelta(days=1)
        codes.append(exit_code(house.service().tick()))

    assert codes == [77, 0, 77]


def test_exit_code_inside_a_backoff(tmp_path):
    """A failing broker is 75 until the person's hour and beyond: it may still pass by itself."""
    with running_house(tmp_path, "2026-11-20 04:00", RefreshGrant.ROTATING) as house:
        house.log_in()
        house.broker.revoke_all()
        house.set(access_token="", UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
        codes = [exit_code(house.service().tick()) for _ in range(2)]

    assert codes == [75, 75]


def test_help_names_every_flag(doors):
    """`--help` shows the flags of the contract and the exit codes."""
    ended = doors.run(*SERVICE, "--help")

    assert ended.code == 0
    for flag in ("--time", "--once", "--force", "--env-file", "--log-file", "-v"):
        assert flag in ended.out
    assert all(code in ended.out for code in ("75", "77", "78"))


def test_the_log_file_of_once(due):
    """`--once` leaves what happened in the private log file, and where `--log-file` says."""
    due.run(*ONCE)
    elsewhere = due.folder / "other.log"
    due.run(*ONCE, "--log-file", str(elsewhere))

    assert "refuses to renew" in due.log.read_text(encoding="utf-8")
    assert due.log.stat().st_mode & 0o777 == 0o600
    assert elsewhere.exists()


def test_the_probe_meets_trouble(doors):
    """A token of somebody else's that cannot be probed is kept, and it may pass: exit 75."""
    doors.broker.secrets.add("planted-opaque-token-31")
    doors.broker.answers[LTP] = Response(503)
    doors.write(access_token="planted-opaque-token-31")
    before = doors.env_file.read_bytes()
    ended = doors.run(*ONCE)

    assert ended.code == 75
    assert_one_clear_message(ended, "503")
    assert doors.env_file.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="an empty PATH keeps Python alive on Linux")
def test_cron_gives_almost_no_environment(rotating):
    """With the bare environment of cron, another folder and a closed input, it works the same."""
    rotating.log_in()
    rotating.set(access_token="")
    process = subprocess.run(
        [sys.executable, *ONCE, "--env-file", rotating.env_file],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert process.returncode == 0
    assert process.stdout + process.stderr == b""
    assert rotating.broker.is_live(rotating.values["access_token"])

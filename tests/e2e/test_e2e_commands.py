"""`upstox-token`: its standard output is the answer alone, its exit codes are the contract's."""

import json
import signal
from datetime import datetime

import pytest
from support.doors import (
    INIT,
    LTP,
    PROFILE,
    ROOT,
    TOKEN,
    UPSTOX_TOKEN,
    consent,
    free_port,
    get,
)

from broker_tokens.clock import IST
from broker_tokens.secrets import Secret
from broker_tokens.simulator.wire import Response

KEYS = {
    *("format", "broker", "account", "state", "expires_at", "expires_in_seconds"),
    *("last_renewal", "next_step", "last_failure", "last_approval", "on_renew_failure"),
    *("coming_session", "outlook", "attendance", "schedulers"),
}


def run(doors, *arguments, **options):
    return doors.run(*UPSTOX_TOKEN, *arguments, **options)


def test_status_of_a_live_token(rotating):
    """The text shows state, account, end, fingerprint and what comes next; exit 0."""
    token = rotating.log_in()
    ended = run(rotating, "status")

    assert (ended.code, ended.err) == (0, "")
    for words in ("live", "SIM001", "03:30 IST", Secret(token).fingerprint, "renew silently"):
        assert words in ended.out


def test_status_as_json(doors):
    """`--json` has the keys of format 1, and times in IST."""
    doors.log_in()
    before = len(doors.broker.arrived)
    ended = run(doors, "status", "--json")
    shown = json.loads(ended.out)
    expires_at = datetime.fromisoformat(shown["expires_at"])

    assert ended.code == 0
    assert shown.keys() == KEYS
    assert shown["next_step"].keys() == {"what", "at"}
    assert (shown["format"], shown["broker"]) == (1, "upstox")
    assert (shown["account"], shown["state"]) == ("SIM001", "live")
    assert expires_at == doors.manager().token_expiry
    assert expires_at.utcoffset() == IST.utcoffset(None)
    assert 0 < shown["expires_in_seconds"] <= 86_400
    assert shown["last_failure"] is None
    assert len(doors.broker.arrived) == before, "status asks the broker nothing"


def test_status_without_a_token(doors):
    """With nothing stored the keys are the same; exit 77, as only a person can help."""
    ended = run(doors, "status", "--json")
    shown = json.loads(ended.out)

    assert ended.code == 77
    assert shown.keys() == KEYS
    assert shown["state"] == "missing"
    assert shown["expires_at"] is None


def test_status_after_a_failure(rotating):
    """The last failure is shown, and 75 says that it may pass by itself."""
    rotating.log_in()
    rotating.set(access_token="")
    rotating.broker.answers[TOKEN] = Response(503)
    assert run(rotating, "renew").code == 75
    ended = run(rotating, "status", "--json")
    shown = json.loads(ended.out)

    assert ended.code == 75
    assert "503" in shown["last_failure"]["what"]


def test_the_library_door_shows_the_status(doors):
    """`python upstox_token_manager.py` is the status, and with a command any other."""
    doors.log_in()

    door = str(ROOT / "upstox_token_manager.py")

    assert "state:         live" in doors.run(door).out
    assert json.loads(doors.run(door, "--json").out)["state"] == "live"
    assert doors.run(door, "token", hide_out=False).out == doors.values["access_token"] + "\n"


@pytest.mark.parametrize("arguments", [(), ("--min-valid", "0s"), ("--min-valid", "1s")])
def test_token(doors, arguments):
    """Standard output is the token and nothing else."""
    token = doors.log_in()
    ended = run(doors, "token", *arguments, hide_out=False)

    assert (ended.code, ended.out, ended.err) == (0, f"{token}\n", "")


@pytest.mark.parametrize(
    ("length", "code"), [("48h", 75), ("soon", 2), ("-5m", 2), ("10", 2), ("", 2)]
)
def test_token_of_a_length(doors, length, code):
    """A life that no token has is temporary trouble; what is no length is wrong usage."""
    doors.log_in()
    ended = run(doors, "token", "--min-valid", length)

    assert (ended.code, ended.out) == (code, "")
    assert ended.err


def test_token_renews_silently(rotating):
    """A dead token is renewed before it is printed."""
    rotating.log_in()
    rotating.set(access_token="")
    ended = run(rotating, "token", hide_out=False)

    assert ended.code == 0
    assert rotating.broker.is_live(ended.out.strip())


def test_token_without_one(doors):
    """Without a token standard output stays empty, and the message says how to get one."""
    ended = run(doors, "token")

    assert (ended.code, ended.out) == (77, "")
    assert "init_tokens.py" in ended.err
    assert "/v2/login/authorization/dialog?" in ended.err


def test_renew(rotating):
    """`renew` renews at any hour and says until when."""
    first = rotating.log_in()
    ended = run(rotating, "renew")

    assert ended.code == 0
    assert "03:30 IST" in ended.out
    assert rotating.values["access_token"] != first


def test_renew_without_a_refresh_token(doors):
    """Without a refresh token a person must act."""
    doors.log_in()
    before = doors.env_file.read_bytes()
    ended = run(doors, "renew")

    assert (ended.code, ended.out) == (77, "")
    assert ended.err.startswith("Refresh token not found")
    assert doors.env_file.read_bytes() == before


def test_check(doors):
    """A working token shows the NIFTY 50 and the account."""
    doors.log_in()
    ended = run(doors, "check")

    assert ended.code == 0
    assert ended.out.startswith("Token is valid and working!")
    assert "NIFTY" in ended.out
    assert "SIM001" in ended.out


def test_check_of_a_dead_token(doors):
    """A token that the broker has ended is told by the text that people look up."""
    doors.broker.revoke(doors.log_in())
    ended = run(doors, "check")

    assert (ended.code, ended.out) == (77, "")
    assert ended.err.startswith("Token is expired or invalid")


def test_check_without_a_token(doors):
    """Nothing stored is nothing that works."""
    assert run(doors, "check").code == 77


@pytest.mark.parametrize("path", [LTP, PROFILE])
def test_check_in_trouble(doors, path):
    """Trouble at the broker is temporary, not a dead token."""
    doors.log_in()
    doors.broker.answers[path] = Response(503)

    assert run(doors, "check").code == 75


def test_logout(doors):
    """Logging out ends the token at the broker and empties it here; all else stays."""
    token = doors.log_in()
    ended = run(doors, "logout")

    assert ended.code == 0
    assert not doors.broker.is_live(token)
    assert doors.values["access_token"] == ""
    assert doors.values["UPSTOX_USER_ID"] == "SIM001"
    assert run(doors, "token").code == 77


def test_logout_that_fails(doors):
    """A logout that does not reach the broker keeps the token, which still lives."""
    doors.log_in()
    doors.set(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    before = doors.env_file.read_bytes()
    ended = run(doors, "logout")

    assert ended.code == 75
    assert doors.env_file.read_bytes() == before


def test_logout_of_nothing(doors):
    """Nothing to log out of is no error."""
    assert run(doors, "logout").code == 0


def test_login(doors):
    """`upstox-token login` is init_tokens.py."""
    address = consent(doors.manager().get_authorization_url())
    ended = run(doors, "login", "--no-browser", stdin=address + "\n")

    assert ended.code == 0
    assert doors.broker.is_live(doors.values["access_token"])


@pytest.mark.parametrize("command", ["status", "token", "renew", "check", "logout", "login"])
def test_bad_settings(doors, command):
    """A wrong setting is named by every command: 78."""
    doors.write(UPSTOX_SESSION="noon")
    ended = run(doors, command)

    assert (ended.code, ended.out) == (78, "")
    assert "UPSTOX_SESSION" in ended.err


@pytest.mark.parametrize("arguments", [(), ("dance",), ("status", "--yaml")])
def test_wrong_usage(doors, arguments):
    """A wrong command line is wrong usage."""
    ended = run(doors, *arguments)

    assert (ended.code, ended.out) == (2, "")


def test_simulate(doors):
    """A newcomer's way: the simulator prints the `.env`, a login works, the status is live."""
    with doors.start(*UPSTOX_TOKEN, "simulate", "--port", "0", "--refresh", "rotating") as running:
        lines = [running.wait_for("UPSTOX_") for _ in range(4)]
        doors.env_file.write_text("\n".join(lines) + "\naccess_token=\n", encoding="utf-8")
        address = consent(doors.manager().get_authorization_url())
        login = doors.run(*INIT, "--no-browser", stdin=address + "\n")
        status = run(doors, "status")
        refused = get(lines[0].partition("=")[2] + PROFILE)
        running.send(signal.SIGTERM)
        ended = running.wait()

    assert [line.partition("=")[0] for line in lines] == [
        *("UPSTOX_API_URL", "UPSTOX_CLIENT_ID", "UPSTOX_CLIENT_SECRET", "UPSTOX_REDIRECT_URI")
    ]
    assert (login.code, status.code, refused.status_code, ended.code) == (0, 0, 401, 0)
    assert ended.out == "\n".join(lines) + "\n"


def test_demo(doors):
    """The demo tells both stories and ends well; no strategy met a dead token."""
    ended = run(doors, "demo")

    assert ended.code == 0
    assert "WITH the refresh grant" in ended.out
    assert "with the refresh grant:    0 of 780 market minutes uncovered" in ended.out
    assert ended.out.count("dead tokens handed out: 0") == 4

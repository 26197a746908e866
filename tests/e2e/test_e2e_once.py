"""`token_refresh_service.py --once`: one tick, one exit code, one clear sentence."""

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from dotenv import dotenv_values
from support.doors import (
    CLIENT_SECRET,
    LTP,
    ONCE,
    ROOT,
    SERVICE,
    TOKEN,
    ScriptedUpstox,
    can_be_powerless,
    consent,
    free_port,
)
from support.house import running_house

from broker_tokens.cli.service import exit_code
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.simulator.minting import claims, sign
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.simulator.wire import Response, json_response

FORCE = (*ONCE, "--force")
REFRESH_TOKEN = "planted-refresh-token-77aa"


def assert_one_clear_message(ended, sentence):
    """One cause, one advice, perhaps a login address; nothing on standard output."""
    lines = [line for line in ended.err.splitlines() if line]
    assert sentence in ended.err
    assert len(lines) <= 5, ended.err
    assert len(lines) == len(set(lines)), f"something is said twice:\n{ended.err}"
    assert ended.out == ""


@pytest.fixture
def due(doors):
    """A `.env` with a refresh token and no access token: a silent renewal is due at any hour.

    The session is over before anybody would be asked, so that the hour of the test counts nothing.
    """
    doors.broker.secrets.add(REFRESH_TOKEN)
    doors.write(UPSTOX_REFRESH_TOKEN=REFRESH_TOKEN, UPSTOX_SESSION="03:31-03:32")
    return doors


def test_a_live_token(doors):
    """A live token is nothing to do: exit 0, silence, no request, the `.env` untouched."""
    doors.log_in()
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


def test_wrong_credentials(due):
    """Credentials that the broker refuses are configuration (78), and are not tried again."""
    due.broker.secrets.add("planted-wrong-secret")
    due.set(UPSTOX_CLIENT_SECRET="planted-wrong-secret")
    before = due.env_file.read_bytes()
    first = due.run(*ONCE)
    second = due.run(*ONCE)

    assert (first.code, second.code) == (78, 78)
    assert_one_clear_message(first, "UPSTOX_CLIENT_SECRET")
    assert second.err.strip()
    assert due.broker.count(TOKEN) == 1
    assert due.env_file.read_bytes() == before


def test_401_without_a_code(due):
    """A bare 401 of the token endpoint is about the credentials."""
    due.broker.answers[TOKEN] = Response(401, {}, b"{}")
    ended = due.run(*ONCE)

    assert ended.code == 78
    assert_one_clear_message(ended, "401 Unauthorized")


def test_corrected_credentials_are_tried_at_once(rotating):
    """Once the secret is corrected, the next run renews without being told."""
    rotating.log_in()
    rotating.broker.secrets.add("planted-wrong-secret")
    rotating.set(UPSTOX_CLIENT_SECRET="planted-wrong-secret", access_token="")
    assert rotating.run(*ONCE).code == 78
    rotating.set(UPSTOX_CLIENT_SECRET=CLIENT_SECRET)
    ended = rotating.run(*ONCE)

    assert ended.code == 0
    assert rotating.broker.is_live(rotating.values["access_token"])


def dead_on_arrival():
    """Return a token reply whose JWT died an hour ago."""
    now = datetime.now(UTC)
    token = sign(claims("SIM001", now - timedelta(hours=9), now - timedelta(hours=1)), b"key")
    return json_response({"user_id": "SIM001", "access_token": token})


TEMPORARY = {
    "429": (Response(429, {}, b"{}"), "429 Too Many Requests"),
    "429 with Retry-After": (Response(429, {"Retry-After": "120"}), "429 Too Many Requests"),
    "429 with nonsense": (Response(429, {"Retry-After": "soon"}), "429 Too Many Requests"),
    "500": (json_response({"status": "error"}, 500), "500"),
    "503": (Response(503, {}, b"<html>down</html>"), "503"),
    "403 of Cloudflare": (Response(403, {"CF-RAY": "1"}, b"<html>1020</html>"), "Cloudflare"),
    "403": (Response(403, {}, b"{}"), "403 Forbidden"),
    "HTML": (Response(200, {}, b"<!doctype html><p>Welcome"), "not JSON"),
    "empty": (Response(200), "empty reply"),
    "not an object": (Response(200, {}, b'["a"]'), "not JSON"),
    "no token": (json_response({"user_id": "SIM001"}), "no access token"),
    "a redirect": (Response(307, {"Location": "http://127.0.0.1:9/"}), "redirects"),
    "64 MB": (Response(200, {}, b" " * (64 << 20)), "larger than"),
    "dead on arrival": (dead_on_arrival(), "expired already"),
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_temporary_trouble(due, name):
    """Whatever makes no sense may pass: exit 75, one sentence, the `.env` as before."""
    answer, sentence = TEMPORARY[name]
    due.broker.answers[TOKEN] = answer
    before = due.env_file.read_bytes()
    ended = due.run(*ONCE)

    assert ended.code == 75
    assert_one_clear_message(ended, sentence)
    assert due.env_file.read_bytes() == before
    assert due.state["retry_at"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(due, status):
    """The form holds the secret: it goes nowhere but to the address that is configured."""
    elsewhere = ScriptedUpstox()
    due.others.append(elsewhere)
    with SimulatorServer(elsewhere) as server:
        due.broker.answers[TOKEN] = Response(status, {"Location": server.url + TOKEN})
        ended = due.run(*ONCE)

    assert ended.code == 75
    assert elsewhere.arrived == []


def test_retry_after_is_honoured(due):
    """The broker's own wait outranks ours: the next run sends nothing, and says why."""
    due.broker.answers[TOKEN] = Response(429, {"Retry-After": "120"})
    due.run(*ONCE)
    ended = due.run(*ONCE)
    wait = datetime.fromisoformat(due.state["retry_at"]) - datetime.now(UTC)

    assert ended.code == 75
    assert_one_clear_message(ended, "429")
    assert due.broker.count(TOKEN) == 1
    assert timedelta(seconds=90) < wait <= timedelta(seconds=120)


def test_a_useless_reply_with_a_refresh_token(due):
    """A rotated refresh token is saved even from a reply that brings no access token."""
    due.broker.answers[TOKEN] = json_response({"refresh_token": "planted-rotated-88bb"})
    due.broker.secrets.add("planted-rotated-88bb")
    ended = due.run(*ONCE)

    assert ended.code == 75
    assert due.values["UPSTOX_REFRESH_TOKEN"] == "planted-rotated-88bb"
    assert due.values["access_token"] == ""


def test_a_closed_port(due):
    """A broker that cannot be reached is temporary."""
    due.set(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    before = due.env_file.read_bytes()
    ended = due.run(*ONCE)

    assert ended.code == 75
    assert_one_clear_message(ended, "refuses the connection")
    assert due.env_file.read_bytes() == before


def test_no_tls_at_the_other_end(due):
    """A server that speaks plain http where TLS is expected is told apart from a dead one."""
    due.set(UPSTOX_API_URL=due.url.replace("http:", "https:"))
    before = due.env_file.read_bytes()
    ended = due.run(*ONCE)

    assert ended.code == 75
    assert_one_clear_message(ended, "TLS")
    assert due.broker.count(TOKEN) == 0
    assert due.env_file.read_bytes() == before


def test_an_untrusted_certificate(due, tmp_path_factory):
    """A certificate that nobody vouches for ends the connection before anything is sent."""
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        due.set(UPSTOX_API_URL=f"https://127.0.0.1:{listener.getsockname()[1]}")
        with due.start(*ONCE) as running:
            connection, _ = listener.accept()
            with connection, pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(connection, server_side=True).recv(1)
            ended = running.wait()

    assert ended.code == 75
    assert_one_clear_message(ended, "TLS")


def test_a_dropped_connection(due):
    """A connection that breaks off without a word is temporary."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        due.set(UPSTOX_API_URL=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with due.start(*ONCE) as running:
            listener.accept()[0].close()
            ended = running.wait()

    assert ended.code == 75
    assert_one_clear_message(ended, "broke off")


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


def test_no_env(tmp_path, doors):
    """A `.env` that is not there is configuration, and its path is named."""
    ended = doors.run(*ONCE, "--env-file", str(tmp_path / "none.env"))

    assert ended.code == 78
    assert_one_clear_message(ended, str(tmp_path / "none.env"))


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"UPSTOX_CLIENT_ID": None}, ["UPSTOX_CLIENT_ID"]),
        ({"UPSTOX_CLIENT_ID": ""}, ["UPSTOX_CLIENT_ID"]),
        ({"UPSTOX_CLIENT_SECRET": None}, ["UPSTOX_CLIENT_SECRET"]),
        ({"UPSTOX_CLIENT_SECRET": ""}, ["UPSTOX_CLIENT_SECRET"]),
        ({"UPSTOX_REFRESH_TIME": "25:00"}, ["UPSTOX_REFRESH_TIME", "25:00"]),
        ({"UPSTOX_API_URL": "http://api.upstox.com"}, ["UPSTOX_API_URL", "https"]),
        (
            {
                "UPSTOX_CLIENT_ID": "",
                "UPSTOX_CLIENT_SECRET": "",
                "UPSTOX_APPROVAL_TIME": "3am",
                "UPSTOX_SESSION": "15:30-09:00",
                "UPSTOX_RENEWAL": "prayer",
                "UPSTOX_REDIRECT_URI": "callback",
            },
            [
                *("UPSTOX_CLIENT_ID", "UPSTOX_CLIENT_SECRET", "UPSTOX_APPROVAL_TIME"),
                *("UPSTOX_SESSION", "UPSTOX_RENEWAL", "UPSTOX_REDIRECT_URI"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("mode", [ONCE, SERVICE])
def test_bad_configuration(doors, keys, named, mode):
    """Every wrong key is named at once, by `--once` and by the daemon, which does not start."""
    doors.write(**keys)
    before = doors.env_file.read_bytes()
    ended = doors.run(*mode)

    assert ended.code == 78
    assert_one_clear_message(ended, named[0])
    assert all(word in ended.err for word in named)
    assert doors.env_file.read_bytes() == before


def test_credentials_missing_by_the_text_people_look_up(doors):
    """The message begins with `Client ID/Secret not found`."""
    doors.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None)

    assert doors.run(*ONCE).err.startswith("Client ID/Secret not found")


@pytest.mark.parametrize(
    "keys", ["UPSTOX_API_KEY UPSTOX_API_SECRET", "UPSTOX_API_KEY UPSTOX_SECRET_KEY"]
)
def test_other_names_of_the_credentials(rotating, keys):
    """The names that other tools use are taken too."""
    rotating.log_in()
    key, secret = keys.split()
    token = rotating.values["UPSTOX_REFRESH_TOKEN"]
    rotating.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None, UPSTOX_REFRESH_TOKEN=token)
    rotating.set(**{key: "sim-client", secret: CLIENT_SECRET})

    assert rotating.run(*ONCE).code == 0
    assert rotating.broker.is_live(rotating.values["access_token"])


def test_settings_of_the_environment_come_first(due):
    """The process environment outranks the `.env` for settings."""
    ended = due.run(*ONCE, environ={"UPSTOX_REFRESH_TIME": "25:00"})

    assert ended.code == 78
    assert "UPSTOX_REFRESH_TIME" in ended.err


def test_tokens_of_the_environment_are_yesterdays(doors):
    """A token in the process environment counts for nothing."""
    ended = doors.run(*FORCE, environ={"access_token": "x" * 9, "UPSTOX_REFRESH_TOKEN": "y" * 9})

    assert ended.code == 77
    assert ended.err.startswith("Refresh token not found")


@pytest.mark.parametrize("arguments", [("--time", "25:00"), ("--time", "2am"), ("--never",)])
def test_wrong_usage(doors, arguments):
    """A wrong command line is wrong usage, and names what is wrong."""
    ended = doors.run(*ONCE, *arguments)

    assert ended.code == 2
    assert arguments[-1] in ended.err


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o000, 0o755), (0o400, 0o555), (0o600, 0o555)]
)
def test_a_file_that_cannot_be_read_or_written(due, file_mode, folder_mode):
    """Without the right to read or write, nothing is sent and the path is named."""
    before = due.env_file.read_bytes()
    due.env_file.chmod(file_mode)
    due.folder.chmod(folder_mode)
    try:
        ended = due.run(*ONCE, powerless=True)
    finally:
        due.folder.chmod(0o755)
        due.env_file.chmod(0o600)

    assert ended.code == 78
    assert str(due.folder) in ended.err
    assert due.broker.count(TOKEN) == 0
    assert due.env_file.read_bytes() == before


@pytest.mark.skipif(not can_be_powerless(), reason="file modes do not count for this user")
def test_a_code_is_not_spent_on_a_file_that_cannot_be_written(doors):
    """A login on a read-only folder is refused before the code is sent."""
    before = doors.env_file.read_bytes()
    address = consent(doors.manager().get_authorization_url())
    doors.folder.chmod(0o555)
    try:
        ended = doors.run(
            str(ROOT / "init_tokens.py"), "--no-browser", stdin=address + "\n", powerless=True
        )
    finally:
        doors.folder.chmod(0o755)

    assert ended.code == 78
    assert doors.broker.count(TOKEN) == 0
    assert doors.env_file.read_bytes() == before


FULL_DISK = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_no_room_to_write(due):
    """When no byte can be written, nothing is sent, the `.env` stays, and it may pass."""
    before = due.env_file.read_bytes()
    # Without the coverage of subprocesses, which would want to write too.
    ended = due.run("-c", FULL_DISK, *ONCE, environ={"COVERAGE_PROCESS_CONFIG": ""})

    assert ended.code in (75, 78)
    assert due.broker.count(TOKEN) == 0
    assert due.env_file.read_bytes() == before


def test_a_broken_line_in_the_file(rotating):
    """An unterminated quote above does not swallow the token, and stays as it is."""
    rotating.log_in()
    rotating.set(access_token="")
    text = "BROKEN='oops\n" + rotating.env_file.read_text(encoding="utf-8")
    rotating.env_file.write_text(text, encoding="utf-8")
    ended = rotating.run(*ONCE)
    read = dotenv_values(rotating.env_file, interpolate=False)

    assert ended.code == 0
    assert rotating.broker.is_live(read["access_token"])
    assert rotating.env_file.read_text(encoding="utf-8").startswith("BROKEN='oops\n")


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

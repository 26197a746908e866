"""Brokers in trouble: `--once` ends with the right code, one clear sentence, `.env` as before."""

import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from support.doors import (
    CLIENT_SECRET,
    ONCE,
    TOKEN,
    assert_one_clear_message,
    free_port,
)
from support.scripted_upstox import ScriptedUpstox

from broker_tokens.simulator.minting import claims, sign
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.simulator.wire import Response, json_response


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
            listener.close()  # what else is asked for finds nobody, instead of waiting 20 s
            ended = running.wait()

    assert ended.code == 75
    assert_one_clear_message(ended, "TLS")


def test_a_dropped_connection(due):
    """A connection that breaks off without a word is temporary."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        due.set(UPSTOX_API_URL=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with due.start(*ONCE) as running:
            listener.accept()[0].close()
            listener.close()  # what else is asked for finds nobody, instead of waiting 20 s
            ended = running.wait()

    assert ended.code == 75
    assert_one_clear_message(ended, "broke off")

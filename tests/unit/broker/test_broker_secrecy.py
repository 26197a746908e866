"""Whatever goes wrong with a real server: the right error, one request, and no secret in it."""

import logging
import threading

import pytest
from support.hostile import http, jwt, texts_of

from broker_tokens.brokers import CallNotAllowed
from broker_tokens.errors import ConfigurationError, TemporaryFailure, TokenRejected
from broker_tokens.secrets import Secret

CODE, REFRESH, ACCESS = "PLANTED-code", "PLANTED-refresh", "PLANTED-access"
ECHO = f"{CODE} {REFRESH} {ACCESS} PLANTED-client-secret"


def envelope(code, spelling="error_code"):
    entry = {spelling: code, "message": ECHO, "property_path": ECHO, "invalid_value": ECHO}
    return {"status": "error", "errors": [entry], "error_description": ECHO}


def nested(line):
    line.read_request()
    line.send(http(200, "[" * 100_000 + ECHO))


def drop(line):
    line.read_request()


def half(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n" + ECHO.encode())


def silent(line):
    line.read_request()
    line.wait_for_hang_up()


def odd_head(line):
    line.read_request()
    line.send(f"HTTP/1.1 200 OK\r\n{ECHO}\r\ncontent-length: 0\r\n\r\n".encode())


# name: the script, and what it is at the code exchange, at the refresh grant, at the probe
T, C, R = TemporaryFailure, ConfigurationError, TokenRejected
HOSTILE = {
    "html": (http(200, f"<html>{ECHO}"), (T, T, T)),
    "cloudflare 1010": (http(403, f"error code: 1010 {ECHO}"), (T, T, T)),
    "cloudflare 1015": (http(429, f"error code: 1015 {ECHO}", retry_after="30"), (T, T, T)),
    "empty": (http(200), (T, T, T)),
    "no json": (http(200, f"{{{ECHO}"), (T, T, T)),
    "a list": (http(200, [ECHO]), (T, T, T)),
    "no token": (http(200, {"token": ECHO}), (T, T, T)),
    "dead token": (http(200, {"access_token": jwt(exp=1, sub=CODE)}), (T, T, T)),
    "odd token": (http(200, {"access_token": f"{ACCESS}\n", "refresh_token": REFRESH}), (T, T, T)),
    "long token": (http(200, {"access_token": ACCESS * 70_000}), (T, T, T)),
    "nested": (nested, (T, T, T)),
    "401": (http(401, {"message": ECHO}), (C, C, T)),
    "401 html": (http(401, f"<html>{ECHO}"), (T, T, T)),
    "403": (http(403, {"message": ECHO}), (T, T, T)),
    "429": (http(429, {"message": ECHO}, retry_after=ECHO), (T, T, T)),
    "500": (http(500, {"message": ECHO}), (T, T, T)),
    "302": (http(302, ECHO, location=f"http://127.0.0.1:9/?{CODE}"), (T, T, T)),
    "307": (http(307, ECHO, location=f"http://127.0.0.1:9/?{CODE}"), (T, T, T)),
    "bad code": (http(400, envelope("UDAPI100057")), (R, R, T)),
    "bad credentials": (http(400, envelope("UDAPI100069", "errorCode")), (C, C, C)),
    "dead": (http(401, envelope("UDAPI100050")), (R, R, R)),
    "gate": (http(401, envelope("UDAPI1221")), (CallNotAllowed, CallNotAllowed, None)),
    "echoed as code": (http(400, envelope(CODE)), (T, T, T)),
    "invalid_grant": (http(400, {"error": "invalid_grant", "hint": ECHO}), (R, R, T)),
    "echoed as error": (http(400, {"error": ECHO}), (T, T, T)),
    "dropped": (drop, (T, T, T)),
    "half": (half, (T, T, T)),
    "silent": (silent, (T, T, T)),
    "odd head": (odd_head, (T, T, T)),
}
CALLS = (("exchange_code", CODE), ("refresh", REFRESH), ("check_life", ACCESS))
ROWS = [
    pytest.param(script, *call, kind, id=f"{name}-{call[0]}")
    for name, (script, kinds) in HOSTILE.items()
    for call, kind in zip(CALLS, kinds, strict=True)
]
EXIT_CODES = {T: 75, C: 78, R: 77, CallNotAllowed: 77}


@pytest.fixture
def uncaught(monkeypatch):
    """Collect what threads die of."""
    found = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


@pytest.mark.parametrize(("script", "call", "secret", "kind"), ROWS)
def test_broker_failure_is_told_without_a_secret(
    serve, upstox_at, caplog, capfd, uncaught, script, call, secret, kind
):
    """Right class, one sentence, one request, no secret in error, trace, log or terminal."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests", "broker_tokens"):
        caplog.set_level(logging.DEBUG, logger=name)
    server = serve(script)
    upstox = upstox_at(server.url)

    if kind is None:
        getattr(upstox, call)(Secret(secret))
        return
    with pytest.raises(kind) as caught:
        getattr(upstox, call)(Secret(secret))

    error = caught.value
    assert error.exit_code == EXIT_CODES[kind]
    assert error.cause.endswith(".")
    assert "\n" not in str(error)
    assert getattr(error, "request_sent", True)
    assert (server.connections, len(server.requests)) == (1, 1)
    assert not [text for text in texts_of(error) if "PLANTED" in text]
    assert "PLANTED" not in "".join(capfd.readouterr())
    assert "PLANTED" not in caplog.text
    assert uncaught == []


def test_broker_secrets_of_a_request_are_not_in_its_repr():
    """Requests and replies may be printed by a debugger; what they carry is not."""
    from broker_tokens.http_message import Reply, Request

    url, headers, form = "https://broker.example/", {"Authorization": ACCESS}, {"code": CODE}
    request = Request("POST", url, headers, form, json={"client_secret": ECHO})

    assert "PLANTED" not in repr(request) + repr(Reply(200, {}, ECHO.encode()))

"""The broker behind a real HTTP server on loopback."""

import http.client
import socket
from contextlib import closing
from datetime import timedelta
from threading import enumerate as running_threads
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from unit.simulator.practice import (
    CREDENTIALS,
    DIALOG,
    LOGOUT,
    LTP,
    NIFTY,
    PROFILE,
    REDIRECT,
    TOKEN,
)

from broker_tokens.simulator import server as server_module
from broker_tokens.simulator.broker import SimulatedUpstox
from broker_tokens.simulator.server import MAX_BODY, SimulatorServer, loopback_address


@pytest.fixture
def server(broker):
    with SimulatorServer(broker) as server:
        yield server


@pytest.fixture
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def exchange(url, say, line=b""):
    """Send raw bytes and return everything until the server hangs up."""
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=5)) as raw:
        raw.sendall(say)
        while chunk := raw.recv(65536):
            line += chunk
    return line


def test_whole_day_over_http(server, session, broker):
    """Dialog, exchange, profile, price and logout, as a client sees them."""
    query = {"client_id": "sim-client", "redirect_uri": REDIRECT, "response_type": "code"}
    login = session.get(server.url + DIALOG, params=query, allow_redirects=False, timeout=5)
    code = parse_qs(urlsplit(login.headers["Location"]).query)["code"][0]
    form = CREDENTIALS | {
        "code": code,
        "redirect_uri": REDIRECT,
        "grant_type": "authorization_code",
    }
    reply = session.post(server.url + TOKEN, data=form, timeout=5)
    session.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
    profile = session.get(server.url + PROFILE, timeout=5)
    price = session.get(server.url + LTP, params={"instrument_key": NIFTY}, timeout=5)
    logout = session.delete(server.url + LOGOUT, timeout=5)

    assert login.status_code == 302
    assert profile.json()["data"]["user_id"] == "SIM001"
    assert price.json()["data"]["NSE_INDEX:Nifty 50"]["instrument_token"] == NIFTY
    assert logout.json()["data"] is True
    assert session.get(server.url + PROFILE, timeout=5).status_code == 401
    assert [record.endpoint for record in broker.requests] == [
        *("dialog", "token", "profile", "ltp", "logout", "profile"),
    ]


def test_headers(server, session):
    """The `Date` header is the broker's time; the body is JSON over HTTP/1.1."""
    response = session.get(server.url + PROFILE, timeout=5)

    assert response.headers["Date"] == "Fri, 20 Nov 2026 03:30:00 GMT"
    assert response.headers["Content-Type"] == "application/json"
    assert response.raw.version == 11


def test_a_date_that_is_off_or_missing(server, session, broker):
    """A switch makes a client's clock seem wrong; another proxy takes the header away."""
    broker.date_shift = timedelta(hours=1)
    shifted = session.get(server.url + PROFILE, timeout=5).headers["Date"]
    broker.date_shift = None

    assert shifted == "Fri, 20 Nov 2026 04:30:00 GMT"
    assert "Date" not in session.get(server.url + PROFILE, timeout=5).headers


def test_wrong_method_and_head(server, session):
    """A method that no address has is 405, and the answer to HEAD has no body."""
    head = exchange(server.url, f"HEAD {PROFILE} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())

    assert session.patch(server.url + PROFILE, timeout=5).status_code == 405
    assert head.startswith(b"HTTP/1.1 405 ")
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (f"Content-Length: {MAX_BODY + 1}", 413),
        ("Content-Length: " + "9" * 5000, 413),
        ("Content-Length: -1", 400),
        ("Content-Length: five", 400),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_bad_bodies_end_the_connection(server, broker, headers, status):
    """A body that will not be read is refused, and nothing after it is taken for a request."""
    request = f"POST {TOKEN} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\nGET {PROFILE} HTTP/1.1\r\n\r\n"
    reply = exchange(server.url, request.encode())

    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert reply.count(b"HTTP/1.1") == 1
    assert broker.requests == []


def test_body_of_the_greatest_size(server, session):
    """The limit itself is allowed."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"client_id=" + b"a" * (MAX_BODY - 10)

    assert session.post(server.url + TOKEN, body, headers=headers, timeout=5).status_code == 400


@pytest.mark.parametrize("target", ["//[", "http://[::1", "/%ff%00?a=%ff", "*"])
def test_odd_targets_are_not_found(server, target, capfd):
    """No request line brings the server to its knees."""
    request = f"GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n"

    assert exchange(server.url, request.encode()).startswith(b"HTTP/1.1 404 ")
    assert capfd.readouterr() == ("", "")


def test_silent_client_is_hung_up_on(server, monkeypatch, capfd):
    """A client that sends half a body does not hold its thread for ever, nor fill the log."""
    monkeypatch.setattr(server_module._Handler, "timeout", 0.05)
    request = f"POST {TOKEN} HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"

    assert exchange(server.url, request.encode()) == b""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("error", "is_heard"), [(BrokenPipeError, False), (RuntimeError, True)])
def test_only_defects_are_heard_of(clock, error, is_heard, capfd):
    """A client that went away is no news; a defect keeps its traceback."""

    def fail(record):
        raise error

    with SimulatorServer(SimulatedUpstox(clock, on_request=fail)) as server:
        request = f"GET {PROFILE} HTTP/1.1\r\n\r\n"
        assert exchange(server.url, request.encode()) == b""

    assert ("Traceback" in capfd.readouterr().err) is is_heard


def test_closing_ends_idle_connections(broker):
    """A client that keeps its connection alive does not keep the server, a thread or the port."""
    before = set(running_threads())
    with SimulatorServer(broker) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
        connection.request("GET", PROFILE)
        connection.getresponse().read()

    assert set(running_threads()) == before
    with closing(connection), SimulatorServer(broker, port=urlsplit(server.url).port) as again:
        assert again.url == server.url


def test_closing_twice_or_before_the_start(broker):
    """Closing is safe at any time."""
    server = SimulatorServer(broker)
    server.close()
    server.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.5", "example.com", "127.0.0.1.x"])
def test_only_loopback(broker, host):
    """The simulator is not for the network."""
    with pytest.raises(ValueError, match="loopback"):
        SimulatorServer(broker, host=host)


def test_localhost_is_an_address(broker):
    """`localhost` is bound by number, whatever the host's name service says."""
    assert loopback_address("localhost") == "127.0.0.1"
    with SimulatorServer(broker, host="localhost") as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_port_in_use(server, broker):
    """A second server on the port is an error of the system, not a silent share."""
    with pytest.raises(OSError, match="in use"):
        SimulatorServer(broker, port=urlsplit(server.url).port)

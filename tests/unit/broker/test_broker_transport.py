"""One request against a server that does what servers should not."""

import gzip
import socket
import threading
from datetime import timedelta

import pytest
from support.hostile import LIMIT, http, texts_of
from unit.broker.conftest import SHORT

from broker_tokens import http_worker
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.http_message import Request
from broker_tokens.transport import LARGEST_REPLY, USER_AGENT, HttpTransport
from broker_tokens.waker import Stopping, Waker

FORM = {"code": "PLANTED-code", "client_secret": "PLANTED-client-secret"}


def post(url, **options):
    return HttpTransport(deadline=SHORT, **options).send(
        Request("POST", url, form=FORM, may_be_cut=False)
    )


def failure_of(url):
    """Send a form and return the TemporaryFailure that comes of it."""
    with pytest.raises(TemporaryFailure) as caught:
        post(url)
    return caught.value


def test_broker_reply_is_handed_over_whatever_its_status(serve):
    """Status, headers (lower case) and body come back as they were sent, errors included."""
    server = serve(http(418, b"tea", **{"X-Odd": "1"}))

    reply = post(server.url + "/path?query=1")

    assert (reply.status, reply.headers["x-odd"], reply.body) == (418, "1", b"tea")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/path?query=1")
    assert request.body == b"code=PLANTED-code&client_secret=PLANTED-client-secret"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["user-agent"] == USER_AGENT
    assert request.headers["accept"] == "application/json"
    assert not {"authorization", "cookie", "referer"} & request.headers.keys()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_broker_redirect_is_never_followed(serve, status):
    """The server that a redirect names receives nothing, not even a connection."""
    other = serve(http(200, {}))
    server = serve(http(status, b"", location=other.url + "/steal"))

    assert post(server.url).status == status
    assert (other.connections, server.connections) == (0, 1)


def endless(line, head):
    """Offer 64 MB after the head."""
    line.read_request()
    line.send(head)
    for _ in range(1024):
        line.send(b"x" * 65_536)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 67108864\r\n\r\n",
        b"HTTP/1.1 500 Bad\r\ncontent-length: 67108864\r\n\r\n",
    ],
    ids=["with length", "without length", "redirect", "error"],
)
def test_broker_oversize_body_is_not_read_to_its_end(serve, head):
    """Of 64 MB only a few are taken before the connection is closed, whatever the status."""
    server = serve(lambda line: endless(line, head))

    failure = failure_of(server.url)

    assert "larger than 1 MiB" in failure.cause
    assert failure.request_sent
    assert server.hung_up.wait(LIMIT)
    assert server.bytes_sent < 16 * LARGEST_REPLY


def test_broker_body_of_the_largest_size_is_taken(serve):
    """The limit itself is allowed; one byte more is not."""
    reply = post(serve(http(200, b"x" * LARGEST_REPLY)).url)
    assert len(reply.body) == LARGEST_REPLY

    assert "larger than" in failure_of(serve(http(200, b"x" * (LARGEST_REPLY + 1))).url).cause


def test_broker_gzip_bomb_is_not_unpacked(serve):
    """What counts is the size after unpacking."""
    bomb = gzip.compress(b"\0" * (64 << 20))
    assert len(bomb) < LARGEST_REPLY

    failure = failure_of(serve(http(200, bomb, content_encoding="gzip")).url)

    assert "larger than 1 MiB" in failure.cause


def test_broker_body_that_is_not_the_gzip_it_claims_is_temporary(serve):
    """A body that cannot be unpacked is a broken connection, not a defect."""
    assert failure_of(serve(http(200, b"{}", content_encoding="gzip")).url).request_sent


def close_at_once(line):
    line.reset()


def close_after_head(line):
    line.read_head()
    line.reset()


def close_after_request(line):
    line.read_request()


def reset_after_request(line):
    line.read_request()
    line.reset()


def half_a_body(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


def half_a_chunk(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{")


def half_a_head(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-le")


def no_http(line):
    line.read_request()
    line.send(b"SSH-2.0-OpenSSH\r\n\r\n")


def endless_header(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")


def thousand_headers(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n")


BROKEN = [close_after_head, close_after_request, reset_after_request]
BROKEN += [half_a_body, half_a_chunk, no_http, endless_header, thousand_headers]


def test_broker_reply_cut_off_in_its_head_is_empty(serve):
    """HTTP libraries take a head cut short for a whole one; what is left holds no token."""
    server = serve(half_a_head)

    assert post(server.url).body == b""
    assert server.connections == 1


@pytest.mark.parametrize("script", BROKEN, ids=lambda script: script.__name__)
def test_broker_broken_connection_is_temporary_and_never_repeated(serve, script):
    """A form is sent once; once a connection was made it counts as perhaps received."""
    server = serve(script)

    failure = failure_of(server.url)

    assert failure.request_sent
    assert server.connections == 1
    assert f"127.0.0.1:{server.port}" in failure.cause


def test_broker_connection_reset_at_once_is_not_repeated(serve):
    """Reset before anything is read, it may count as made or not, but it is tried once."""
    server = serve(close_at_once)

    assert "broke off" in failure_of(server.url).cause
    assert server.connections == 1


def test_broker_dropped_get_is_not_repeated_either(serve):
    """What need not be repeated by the transport is repeated by the policy, with its backoff."""
    server = serve(close_after_request)

    with pytest.raises(TemporaryFailure):
        HttpTransport(deadline=SHORT).send(Request("GET", server.url))

    assert server.connections == 1


def test_broker_retry_after_is_not_waited_for(serve):
    """A 429 or 503 with Retry-After comes back at once, after one request."""
    for status in (429, 503):
        server = serve(http(status, {}, retry_after="3600"))

        assert HttpTransport(deadline=SHORT).send(Request("GET", server.url)).status == status
        assert server.connections == 1


def drip_the_head(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\n")
    line.drip(b"x-slow: " + b"y" * 1000)


def drip_the_body(line):
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    line.drip(b"z" * 1000)


def continue_for_ever(line):
    line.read_request()
    line.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def say_nothing(line):
    line.read_request()
    line.wait_for_hang_up()


def take_nothing(line):
    line.wait_for_hang_up()


SLOW = [drip_the_head, drip_the_body, continue_for_ever, say_nothing, take_nothing]


@pytest.mark.parametrize("script", SLOW, ids=lambda script: script.__name__)
def test_broker_deadline_holds_for_the_whole_request(serve, script):
    """A server that drips loses its client at the deadline, with its script far from the end."""
    server = serve(script)

    failure = failure_of(server.url)

    assert server.hung_up.wait(LIMIT)
    assert failure.request_sent
    assert server.connections == 1


def test_broker_closed_port_is_told_from_a_request_perhaps_received():
    """Where no connection was made, the code is known to be unspent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    failure = failure_of(f"http://127.0.0.1:{port}")

    assert "refuses the connection" in failure.cause
    assert not failure.request_sent


def test_broker_unknown_name_is_temporary(serve):
    """A name that does not resolve may do so later; nothing was sent."""
    failure = failure_of("http://nonexistent.invalid/")

    assert failure.cause == "The name nonexistent.invalid cannot be resolved."
    assert not failure.request_sent


def test_broker_name_lookup_that_hangs_ends_at_the_deadline(monkeypatch):
    """The deadline covers the lookup; a late answer to it no longer leads to a connection."""
    late, connected = threading.Event(), []
    lookup = socket.getaddrinfo

    def slow_lookup(*arguments, **options):
        assert late.wait(LIMIT)
        return lookup("127.0.0.1", *arguments[1:], **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://broker.invalid:{listener.getsockname()[1]}/"
        failure = failure_of(url)
        late.set()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(LIMIT)
        listener.settimeout(LIMIT)
        connection, _ = listener.accept()
        connected.append(connection.recv(1))
        connection.close()

    assert not failure.request_sent
    assert connected == [b""]


def test_broker_cut_request_that_left_meanwhile_counts_as_sent(serve, monkeypatch):
    """Whether the request left is read only after the line is cut: until then it still can."""
    found, arrived = threading.Event(), threading.Event()
    lookup, cut = socket.getaddrinfo, http_worker.Attempt.cut

    def slow_lookup(*arguments, **options):
        assert found.wait(LIMIT)
        return lookup(*arguments, **options)

    def late_cut(attempt):
        found.set()
        assert arrived.wait(LIMIT)
        cut(attempt)

    def take(line):
        line.read_request()
        arrived.set()
        line.wait_for_hang_up()

    server = serve(take)
    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    monkeypatch.setattr(http_worker.Attempt, "cut", late_cut)

    assert failure_of(server.url).request_sent
    assert len(server.requests) == 1


def test_broker_stop_cuts_a_request_that_may_be_cut(serve):
    """A signal ends a request that changes nothing, and its connection."""
    waker = Waker()

    def stop_meanwhile(line):
        line.read_request()
        waker.stop()
        line.wait_for_hang_up()

    server = serve(stop_meanwhile)
    transport = HttpTransport(deadline=timedelta(seconds=LIMIT), waker=waker)

    with pytest.raises(Stopping):
        transport.send(Request("GET", server.url))
    assert server.hung_up.wait(LIMIT)
    waker.close()


def test_broker_stop_never_cuts_a_token_request(serve):
    """A code or refresh token that has left is waited for: its reply is not to be lost."""
    waker = Waker()

    def stop_meanwhile(line):
        line.read_request()
        waker.stop()
        line.send(http(200, {"access_token": "new"}))

    server = serve(stop_meanwhile)
    reply = post(server.url, waker=waker)

    assert b"new" in reply.body
    assert waker.stopping
    waker.close()


def test_broker_request_after_stop_is_not_made_or_cut(serve):
    """Once stopping, a call that may be cut is."""
    waker = Waker()
    waker.stop()
    server = serve(say_nothing)

    with pytest.raises(Stopping):
        HttpTransport(deadline=SHORT, waker=waker).send(Request("GET", server.url))
    waker.close()


def test_broker_machine_without_descriptors_sends_nothing(serve, monkeypatch):
    """Too many open files is temporary, and the code is known to be unspent."""

    def no_more():
        raise OSError(24, "Too many open files")

    server = serve(http(200, {}))
    monkeypatch.setattr(socket, "socketpair", no_more)

    assert not failure_of(server.url).request_sent
    assert server.connections == 0


def test_broker_header_that_cannot_be_sent_is_no_connection(serve):
    """A header value that HTTP cannot carry never leaves, and is not in the error."""
    for value in ("PLANTED\ntoken", "PLANTED-₹-token"):
        with pytest.raises(ConfigurationError) as caught:
            HttpTransport(deadline=SHORT).send(
                Request("GET", serve(http(200)).url, {"Authorization": f"Bearer {value}"})
            )
        assert not [text for text in texts_of(caught.value) if value in text]

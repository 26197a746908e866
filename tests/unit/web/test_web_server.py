"""The small server: what it takes, what it refuses before a handler sees it, and how it ends."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from unit.web.wire import LIMIT, Wire, get, post, talk

from broker_tokens.errors import TemporaryFailure
from broker_tokens.web.http_server import Limits, WebServer
from broker_tokens.web.http_values import LARGEST_BODY, Route, WebReply
from broker_tokens.web.sockets import bind

HOOK, PAGE = "/notifier/s3cret", "/callback"
CHUNKED = b"POST /notifier/s3cret HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Desk:
    """A server with two routes, what reached them, and what was refused."""

    def __init__(self) -> None:
        self.received = []
        self.refused = []
        self.full = threading.Event()
        self.routes = [Route(HOOK, "POST", self.take), Route(PAGE, "GET", self.take)]

    def refuse(self, reason):
        self.refused.append(reason)
        self.full.set()

    def take(self, request):
        self.received.append(request)
        return WebReply.text(200, "taken")

    @contextmanager
    def serve(self, **limits):
        """Serve with limits of one's own; gives the port."""
        with WebServer(
            "127.0.0.1", 0, lambda: self.routes, self.refuse, Limits(**limits)
        ) as server:
            self.server = server
            yield server.address[1]


@pytest.fixture
def desk():
    """What is served."""
    return Desk()


@pytest.fixture
def port(desk):
    """Where it is served."""
    with desk.serve() as port:
        yield port


def test_a_request_reaches_its_handler_whole(desk, port):
    """Path, query, headers in lower case and body; the reply is stored nowhere and is the last."""
    status, headers, body = talk(port, post(HOOK, b"\x00body", "X-One: 1"))
    talk(port, get(PAGE + "?code=a%20b&state=c"))
    first, second = desk.received

    assert (status, body) == (200, b"taken\n")
    assert (first.method, first.path, first.body) == ("POST", HOOK, b"\x00body")
    assert first.headers["x-one"] == "1"
    assert (second.path, second.query) == (PAGE, "code=a%20b&state=c")
    assert headers["Connection"] == "close"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


LONG = b"a" * (LARGEST_BODY + 1)
REFUSED = {
    "another path": (get("/"), 404),
    "a part of the path": (get("/callback/"), 404),
    "the path, encoded": (get("/c%61llback"), 404),
    "the secret cut": (post(HOOK[:-1], b"x"), 404),
    "the secret, GET": (get(HOOK), 405),
    "HEAD": (get(PAGE, "HEAD"), 405),
    "POST to the page": (post(PAGE, b""), 405),
    "no path": (b"GET callback HTTP/1.1\r\n\r\n", 400),
    "a proxy's request": (b"GET http://x/callback HTTP/1.1\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a bare line feed": (b"GET /callback HTTP/1.1\nHost: x\r\n\r\n", 400),
    "a folded header": (b"GET /callback HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "a blank before the colon": (b"GET /callback HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "two hosts": (b"GET /callback HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two lengths": (post(HOOK, b"x", "Content-Length: 1"), 400),
    "a length and chunks": (post(HOOK, b"x", "Transfer-Encoding: chunked"), 400),
    "another coding": (CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n", 400),
    "a signed length": (post(HOOK, b"").replace(b": 0", b": +0"), 400),
    "a negative length": (post(HOOK, b"").replace(b": 0", b": -1"), 400),
    "no length": (b"POST /notifier/s3cret HTTP/1.1\r\n\r\n", 411),
    "a body too large": (post(HOOK, LONG), 413),
    "a promise too large": (post(HOOK, b"").replace(b": 0", b": 999999999999"), 413),
    "a GET with a body": (get(PAGE)[:-2] + b"Content-Length: 1\r\n\r\nx", 413),
    "chunks too large": (CHUNKED + b"%x\r\n" % len(LONG) + LONG, 413),
    "many chunks too large": (CHUNKED + b"1000\r\n" + b"a" * 4096 + b"\r\n" + b"3001\r\n", 413),
    "a chunk without its end": (CHUNKED + b"1\r\nxyz", 400),
    "a chunk of no size": (CHUNKED + b"x\r\n", 400),
    "a signed chunk": (CHUNKED + b"+1\r\nx\r\n0\r\n\r\n", 400),
    "a head too large": (get(PAGE)[:-2] + b"A: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "a path too long": (get("/" + "a" * 9000), 431),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_unclear_or_too_much_is_refused_unseen(desk, port, request_, status):
    """No handler is troubled, the refusal is counted once, and the server serves on."""
    answered, _, body = talk(port, request_)

    assert answered == status
    assert b"s3cret" not in body
    assert (desk.received, len(desk.refused)) == ([], 1)
    assert talk(port, get(PAGE))[0] == 200


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (CHUNKED + b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED + b"%X\r\n" % LARGEST_BODY + LONG[1:] + b"\r\n0\r\nTrailer: x\r\n\r\n", LONG[1:]),
        (post(HOOK, LONG[1:]), LONG[1:]),
        (post(HOOK, b"ab", "Expect: 100-continue"), b"ab"),
    ],
    ids=["chunks", "the largest in one chunk", "the largest", "after a go-ahead"],
)
def test_a_body_may_come_in_any_way_that_proxies_send_it(desk, port, sent, body):
    """Up to its largest size, to the byte."""
    talk(port, sent)

    assert [request.body for request in desk.received] == [body]


def test_a_request_that_drips_ends_at_the_deadline(desk):
    """However much of it has come by then."""
    with desk.serve(deadline=timedelta(seconds=0.2)) as port:
        wires = [Wire(port) for _ in range(3)]
        for wire, part in zip(wires, (b"", b"GET ", post(HOOK, b"abc")[:-1]), strict=True):
            wire.send(part)
        replies = [wire.reply()[0] for wire in wires]

    assert replies == [408] * 3
    assert (desk.received, desk.refused) == ([], ["too slow"] * 3)


def test_the_oldest_that_still_sends_makes_room(desk):
    """A flood of slow ones locks nobody out."""
    with desk.serve(connections=3, deadline=timedelta(seconds=LIMIT)) as port:
        slow = [Wire(port) for _ in range(3)]
        for wire in slow:
            wire.send(b"GET ")
        replies = [talk(port, get(PAGE))[0] for _ in range(2)]
        first = slow[0].reply()[0]
        for wire in slow[1:]:
            wire.socket.close()

    assert replies == [200, 200]
    assert first == 0
    assert "dropped" in desk.refused


def test_more_than_can_be_handled_is_told_to_come_again(desk):
    """Who waits for a handler is bounded."""
    entered, leave = threading.Event(), threading.Event()

    def hang(request):
        entered.set()
        assert leave.wait(LIMIT)
        return WebReply.text(200, "late")

    desk.routes = [Route(PAGE, "GET", hang)]
    with desk.serve(handlers=1, waiting=1) as port:
        wires = [sent(port)]
        assert entered.wait(LIMIT)
        for _ in range(100):  # one in the handler, one before it: soon there is no room
            wires.append(sent(port))
            if desk.full.wait(0.05):
                break
        leave.set()
        statuses = [wire.reply()[0] for wire in wires]

    assert statuses.count(200) >= 2
    assert set(desk.refused) == {"too many at once"}
    assert statuses.count(503) == len(desk.refused)


def sent(port):
    """Return a line on which a request is under way."""
    wire = Wire(port)
    wire.send(get(PAGE))
    return wire


def test_a_handler_that_fails_is_an_answer_and_not_the_end(desk, port, caplog):
    """The log has the defect; the stranger has none of it."""

    def fail(request):
        raise RuntimeError("planted")

    desk.routes = [Route(PAGE, "GET", fail)]
    status, _, body = talk(port, get(PAGE))
    desk.routes = [Route(PAGE, "GET", desk.take)]

    assert (status, b"planted" in body) == (500, False)
    assert "planted" in caplog.text
    assert talk(port, get(PAGE))[0] == 200


def test_closing_lets_a_handler_finish_and_the_rest_go(desk):
    """What has begun is answered within the grace; who still sends is cut."""
    entered, leave = threading.Event(), threading.Event()

    def slow(request):
        entered.set()
        assert leave.wait(LIMIT)
        return WebReply.text(200, "done")

    desk.routes = [Route(PAGE, "GET", slow)]
    with desk.serve(deadline=timedelta(seconds=LIMIT)) as port:
        busy, sending = Wire(port), Wire(port)
        busy.send(get(PAGE))
        sending.send(b"GET ")
        assert entered.wait(LIMIT)
        closer = threading.Thread(target=desk.server.close, args=(timedelta(seconds=LIMIT),))
        closer.start()
        cut = sending.reply()[0]
        leave.set()
        finished = busy.reply()[0]
        closer.join(LIMIT)

    assert (cut, finished) == (0, 200)
    assert not closer.is_alive()
    with pytest.raises(ConnectionError):
        Wire(port)


def test_an_address_in_use_or_elsewhere_is_one_sentence(port):
    """It names the setting, and what to do."""
    with pytest.raises(TemporaryFailure, match=f"Port {port} of UPSTOX_REDIRECT_URI is in use"):
        bind("127.0.0.1", port, "UPSTOX_REDIRECT_URI")
    with pytest.raises(TemporaryFailure, match="not possible to listen at 192.0.2.1"):
        bind("192.0.2.1", 0)

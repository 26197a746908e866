"""The loopback server that catches one redirect."""

import socket
import threading
from contextlib import closing
from datetime import timedelta

import pytest
import requests
from support.doors import free_port

from broker_tokens.errors import LoginRequired, TemporaryFailure, TokenRejected
from broker_tokens.renewals.browser_login import RedirectCatcher, can_catch
from broker_tokens.secrets import Secret


@pytest.fixture
def port():
    """A port that nothing listens on."""
    return free_port()


def visit(url, **query):
    """Fetch a page as a browser does, in a thread; returns what to join for its reply."""
    replies = []
    thread = threading.Thread(
        target=lambda: replies.append(requests.get(url, params=query, timeout=20))
    )
    thread.start()

    def reply():
        thread.join(20)
        return replies[0]

    return reply


def test_nobody_comes(port):
    """After the limit the login is over, with what to do."""
    with (
        RedirectCatcher(f"http://localhost:{port}/callback", "ours") as catcher,
        pytest.raises(LoginRequired, match="init_tokens"),
    ):
        catcher.wait(timedelta(milliseconds=1))


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_localhost_is_both_of_its_addresses(port, address):
    """A browser may take the name for either; the code arrives, and the page tells the end."""
    if address == "[::1]" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with RedirectCatcher(f"http://localhost:{port}/callback", "ours") as catcher:
        page = visit(f"http://{address}:{port}/callback", code="mk404x", state="ours")
        code = catcher.wait(timedelta(seconds=20))
        catcher.finish("It worked <b>.")

        assert code == Secret("mk404x")
        assert page().status_code == 200
        assert "It worked &lt;b&gt;." in page().text


@pytest.mark.parametrize(
    "query",
    [
        {"code": "mk404x"},
        {"code": "mk404x", "state": "theirs"},
        {"error": "access_denied", "state": "theirs"},
        {"error": "access_denied"},
        {},
    ],
)
def test_an_answer_to_another_login_ends_nothing(port, query):
    """Any page can make a browser call this address; only the one with our state counts."""
    with RedirectCatcher(f"http://127.0.0.1:{port}/callback", "ours") as catcher:
        stranger = visit(f"http://127.0.0.1:{port}/callback", **query)
        assert stranger().status_code == 400
        page = visit(f"http://127.0.0.1:{port}/callback", code="mk404x", state="ours")
        assert catcher.wait(timedelta(seconds=20)) == Secret("mk404x")
        catcher.finish("Done.")
        assert "<p>Done.</p>" in page().text


def test_a_refusal_ends_the_login(port):
    """`error=` with our state is the person's own no."""
    with RedirectCatcher(f"http://127.0.0.1:{port}/callback", "ours") as catcher:
        visit(f"http://127.0.0.1:{port}/callback", error="access_denied", state="ours")
        with pytest.raises(TokenRejected, match="access_denied"):
            catcher.wait(timedelta(seconds=20))


def test_other_paths_are_not_here(port):
    """The favicon, or anything else a browser asks for, is a plain 404."""
    with RedirectCatcher(f"http://127.0.0.1:{port}/callback", "ours"):
        found = [
            requests.get(f"http://127.0.0.1:{port}{path}", timeout=20).status_code
            for path in ("/favicon.ico", "/", "/callback/", "/callbacks?code=x&state=ours")
        ]

    assert found == [404] * 4


def test_a_port_in_use_is_explained(port):
    """By its number and its key, with the other way to log in."""
    with (
        closing(socket.create_server(("127.0.0.1", port))),
        pytest.raises(TemporaryFailure, match=f"Port {port} of UPSTOX_REDIRECT_URI is in use"),
    ):
        RedirectCatcher(f"http://localhost:{port}/callback", "ours")


@pytest.mark.parametrize(
    ("uri", "catchable"),
    [
        ("http://localhost:3000/callback", True),
        ("http://127.0.0.1/callback", True),
        ("http://[::1]:3000/", True),
        ("https://localhost:3000/callback", False),
        ("http://trader.example/callback", False),
        ("http://localhost.example/callback", False),
    ],
)
def test_only_a_plain_loopback_address_can_be_caught(uri, catchable):
    """Everything else goes elsewhere, so its answer has to be pasted."""
    assert can_catch(uri) is catchable

"""Notices that apprise really delivers: to a mail server and to an HTTP service of this machine."""

import email
import email.policy
import json
import os
import queue
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from support.doors import LIMIT, UPSTOX_TOKEN, free_port, open_doors

TEST = (*UPSTOX_TOKEN, "notify", "--test")


@pytest.fixture
def counterparts():
    """apprise and a mail server; without them the test is skipped, but not in CI."""
    for name in ("apprise", "aiosmtpd"):
        try:
            __import__(name)
        except ImportError:
            assert not os.environ.get("CI"), f"CI installs {name}"
            pytest.skip(f"{name} is not installed")


class Mailbox:
    """A mail server's handler that keeps what it is given."""

    def __init__(self) -> None:
        self.letters: queue.Queue = queue.Queue()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 -- aiosmtpd's name
        self.letters.put(envelope)
        return "250 OK"


@pytest.fixture
def mailbox(counterparts):
    """A real SMTP server on loopback."""
    from aiosmtpd.controller import Controller

    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


@pytest.fixture
def channel():
    """An HTTP service on loopback that keeps what is posted to it."""
    posts: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.put(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        posts.port = server.server_address[1]
        yield posts
        server.shutdown()
        thread.join(LIMIT)


def test_a_letter_arrives(tmp_path, mailbox):
    """`notify --test` sends a real e-mail, and says so without the address's password."""
    with open_doors(tmp_path) as doors:
        doors.broker.secrets.add("mail-password-31")
        doors.set(
            UPSTOX_NOTIFY_URLS=f"mailto://127.0.0.1:{mailbox.port}"
            "?from=service@example.com&to=trader@example.com&mode=insecure&name=x"
        )
        ended = doors.run(*TEST)
        letter = mailbox.letters.get(timeout=LIMIT)

    text = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert ended.code == 0, ended.said
    assert ended.out == "mailto (address 1): sent\n"
    assert letter.rcpt_tos == ["trader@example.com"]
    assert text["Subject"] == "Upstox token: a test"
    assert "If you can read this, it works." in str(text.get_body(("plain", "html")).get_content())


def test_a_message_arrives_over_http_and_a_dead_channel_is_named(tmp_path, counterparts, channel):
    """Each address by itself: one that fails keeps no other from being told."""
    with open_doors(tmp_path) as doors:
        doors.broker.secrets.add("hook-password-77")
        dead = f"json://user:hook-password-77@127.0.0.1:{free_port()}/x"
        doors.set(UPSTOX_NOTIFY_URLS=f"{dead}, json://127.0.0.1:{channel.port}/hook")
        ended = doors.run(*TEST)
        message = channel.get(timeout=LIMIT)

    assert ended.code == 75
    assert "json (address 1): " in ended.out
    assert "json (address 2): sent" in ended.out
    assert message["title"] == "Upstox token: a test"
    assert message["message"] == "If you can read this, it works."


def test_an_address_that_apprise_does_not_know_is_named_by_number(tmp_path, counterparts):
    """The address itself may hold a password, so it is not repeated."""
    with open_doors(tmp_path) as doors:
        doors.broker.secrets.add("wrong-password-5")
        doors.set(UPSTOX_NOTIFY_URLS="nosuch://user:wrong-password-5@host")
        ended = doors.run(*TEST)

    assert ended.code == 75
    assert "nosuch (address 1)" in ended.out
    assert "apprise does not understand the address" in ended.err


def test_without_apprise_the_remedy_is_named(tmp_path):
    """A user who sets an address and has not installed the extra is told how."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "apprise.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    trader = tmp_path / "trader"
    trader.mkdir()
    with open_doors(trader) as doors:
        doors.set(UPSTOX_NOTIFY_URLS="json://127.0.0.1/x")
        path = f"{stub}{os.pathsep}{os.pathsep.join(sys.path)}"
        ended = doors.run(*TEST, environ={"PYTHONPATH": path})

    assert ended.code == 75
    assert "pip install -e '.[notify]'" in ended.err


def test_nobody_to_tell_is_a_wrong_configuration(tmp_path):
    """`notify --test` without a channel says which keys there are."""
    with open_doors(tmp_path) as doors:
        ended = doors.run(*TEST)

    assert ended.code == 78
    assert "UPSTOX_NOTIFY_URLS" in ended.err

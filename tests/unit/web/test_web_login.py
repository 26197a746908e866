"""The login's redirect at the listener: completed once, whatever a browser or a stranger does."""

import re
import threading
from contextlib import ExitStack
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from unit.web.conftest import KEY

from broker_tokens.file_lock import FileLock
from broker_tokens.model import PersonNeeded
from broker_tokens.renewals.login_link import new_state
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import Endpoint
from broker_tokens.waker import Waker
from broker_tokens.web.pages import login_page

LIMIT = 30


@pytest.fixture
def login(post):
    """A listener, and a link that it sent."""
    with post.open():
        post.house.service().tick()
        link = next(e.login_url for e in post.house.events if isinstance(e, PersonNeeded))
        yield Login(post, link)


class Login:
    """A person with a browser."""

    def __init__(self, post, link) -> None:
        self.post, self.broker, self.link = post, post.house.broker, link
        self.state = parse_qs(urlsplit(link).query).get("state", [""])[0]

    def consent(self):
        """Log in at the broker; returns the query of the redirect."""
        reply = requests.get(self.link, allow_redirects=False, timeout=LIMIT)
        return urlsplit(reply.headers["Location"]).query

    def visit(self, query):
        """Come back to the listener; returns status and words."""
        reply = requests.get(f"http://127.0.0.1:{self.post.port}/callback?{query}", timeout=LIMIT)
        return reply.status_code, re.sub(r"(?s).*<p>(.*)</p>.*", r"\1", reply.text)

    @property
    def exchanges(self):
        """How often a code was shown to the broker."""
        return sum(record.endpoint is Endpoint.TOKEN for record in self.broker.requests)


def test_a_reload_shows_the_same_page_and_a_second_consent_is_too_late(login):
    """The link works once."""
    query = login.consent()
    first, again = login.visit(query), login.visit(query)
    other_code = login.visit(login.consent())

    assert first[0] == 200
    assert "Successfully authenticated with Upstox!" in first[1]
    assert first == again == other_code
    assert login.exchanges == 1
    assert login.broker.is_live(login.post.values["access_token"])


def test_many_at_once_exchange_once(login):
    """A browser that opens the page in several tabs gets the same words in each."""
    query, seen = login.consent(), []
    threads = [threading.Thread(target=lambda: seen.append(login.visit(query))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)

    assert login.exchanges == 1
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_after_a_restart_a_used_link_is_known(login, post):
    """Its fingerprint is in the saved state."""
    query = login.consent()
    login.visit(query)
    with post.open():
        login.post.port = post.port
        status, words = login.visit(query)

    assert status == 400
    assert "was used before" in words
    assert "nothing needs to be done" in words
    assert login.exchanges == 1


def forged(login):
    return urlencode({"code": "abcdef", "state": login.state[:-1] + "x"})


def expired(login):
    login.post.house.clock.advance(hours=20)
    return urlencode({"code": "abcdef", "state": login.state})


def of_another_key(login):
    state = new_state(Secret("other"), login.post.house.clock().replace(hour=23))
    return urlencode({"code": "abcdef", "state": state})


NO_LOGIN = {
    "no state": lambda login: "code=abcdef",
    "nothing": lambda login: "",
    "another's state": lambda login: "code=abcdef&state=mine",
    "hostile": lambda login: urlencode({"code": "<script>", "state": "<script>alert(1)</script>"}),
    "not ASCII": lambda login: "code=abcdef&state=%C3%A9%00",
    "no code": lambda login: urlencode({"state": login.state}),
    "too many fields": lambda login: "&".join(f"a{n}=1" for n in range(100)),
    **{f.__name__: f for f in (forged, expired, of_another_key)},
}


@pytest.mark.parametrize("query_of", NO_LOGIN.values(), ids=NO_LOGIN)
def test_what_is_no_answer_to_a_link_reaches_no_broker(login, query_of):
    """It is said so at once, even while `.env` is locked, with nothing of the stranger's text."""
    query, path = query_of(login), str(login.post.house.env_file)
    with FileLock(path + ".lock", owned_like=path):
        status, words = login.visit(query)

    assert status == 400
    assert login.exchanges == 0
    assert "script" not in words


def test_a_refused_consent_is_said_and_the_link_still_works(login):
    """Whoever taps Cancel may think again."""
    query = urlencode({"error": "access_denied", "state": login.state})
    status, words = login.visit(query)
    again, _ = login.visit(login.consent())

    assert (status, again) == (400, 200)
    assert words
    assert login.exchanges == 1


def test_a_page_shows_words_and_no_markup():
    """Whatever they are made of."""
    page = login_page("<script>alert('1')</script>&amp;")

    assert "<p>&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&amp;amp;</p>" in page


def test_broken_settings_are_not_for_strangers(post):
    """A page, not a defect; the path of the file is for the log."""
    with post.open():
        post.house.set(UPSTOX_NOTIFIER_SECRET="x" * 43)
        folder = str(post.house.env_file.parent)
        text = post.house.env_file.read_bytes()
        visitor = Login(post, "?state=x")
        visitor.visit("code=abc&state=x")
        post.house.env_file.unlink()
        post.house.clock.advance(seconds=2)
        status, words = visitor.visit("code=abc&state=x")
        post.house.env_file.write_bytes(text)

    assert status == 400
    assert "cannot read its settings" in words
    assert folder not in words


def test_a_stop_sends_away_who_waits_for_the_lock(post, monkeypatch):
    """Another process holds it; nothing was sent, so nothing has to be waited for."""
    waits, pause = threading.Event(), Waker.pause

    def pause_and_tell(waker, seconds):
        waits.set()
        pause(waker, seconds)

    monkeypatch.setattr(Waker, "pause", pause_and_tell)
    path, seen = str(post.house.env_file), []
    with ExitStack() as stack, post.open():
        stack.enter_context(FileLock(path + ".lock", owned_like=path))
        state = new_state(Secret(KEY), post.house.clock() + timedelta(hours=1))
        query = urlencode({"code": "abcdef", "state": state})
        visitor = threading.Thread(target=lambda: seen.append(Login(post, query).visit(query)))
        visitor.start()
        assert waits.wait(LIMIT)
    visitor.join(LIMIT)

    assert seen[0][0] == 503
    assert "being stopped" in seen[0][1]
    assert post.house.broker.token_requests == 0

"""Deliveries: sieved without the broker, safe on disk before they are answered, then judged."""

import json
import os
import stat
from datetime import timedelta

import pytest
from support.hostile import jwt
from support.house import ist

from broker_tokens.durable_file import Replacement
from broker_tokens.errors import StoreError, TemporaryFailure, TokenRejected
from broker_tokens.inbox import Inbox, is_any_waiting
from broker_tokens.renewals.phone_approval import Delivery
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import Endpoint
from broker_tokens.web.http_values import WebRequest
from broker_tokens.web.receiver import Receiver

KEY_PART = "k" * 43
CUT = ist("2026-11-21 03:30")
SOON = timedelta(minutes=1)


def asked_of(broker):
    """Return how often the broker was asked about a token."""
    return sum(record.endpoint in (Endpoint.LTP, Endpoint.PROFILE) for record in broker.requests)


def test_an_approved_token_is_stored_and_its_copies_are_not_news(post):
    """However often Upstox says it."""
    with post.open():
        post.house.service(is_listening=True).tick()
        token = post.house.broker.approve(copies=3)
        is_stored = post.is_stored(token)

    assert is_stored
    assert {each.status for each in post.house.broker.deliveries} == {200}
    assert not post.inbox.exists()
    assert [type(event).__name__ for event in post.house.events].count("TokenStored") == 1


FORGED = {
    "another app": {"client_id": "other"},
    "another account": {"user_id": "SIM002"},
    "over": {"expires_at": "1763600000000"},
    "beyond the cut": {"expires_at": "1795300000000"},
    "another kind": {"message_type": "order"},
    "another type": {"token_type": "MAC"},
    "no token": {"access_token": None},
    "a token in two lines": {"access_token": "a\nb"},
    "an account in the token": {"access_token": jwt(sub="SIM002")},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_a_forged_delivery_costs_the_broker_nothing(post, changes):
    """It is dropped by what it says itself, and nothing is kept of it."""
    with post.open():
        fields = {"access_token": post.house.broker.mint(), **changes}
        status = post.house.broker.send_webhook(**fields)

    assert status in (200, 400)
    assert asked_of(post.house.broker) == 0
    assert not post.inbox.exists()
    assert not post.values["access_token"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 10_000, b"\xff"])
def test_what_is_no_delivery_is_refused(body):
    """Answered 400, whatever it is."""
    refused = []
    receiver = Receiver(pytest.fail, pytest.fail, NoInbox(), refused.append)

    assert receiver.receive(WebRequest("POST", "/", body=body)).status == 400
    assert len(refused) == 1


class NoInbox:
    """An inbox that nothing may reach."""

    waiting = ()


def delivery(number=0):
    """Return a delivery that passes every check."""
    return Delivery(Secret(f"token-{number}"), "sim-client", "SIM001", ist("2026-11-20 08:00"), CUT)


def body_of(number=0):
    """Return it as it is sent."""
    made = delivery(number)
    return json.dumps(
        {
            "client_id": made.client_id,
            "user_id": made.user_id,
            "access_token": made.token.reveal(),
            "token_type": "Bearer",
            "issued_at": str(int(made.issued_at.timestamp() * 1000)),
            "expires_at": str(int(made.expires_at.timestamp() * 1000)),
            "message_type": "access_token",
        }
    ).encode()


class Judge:
    """Stands for the service: raises what it is told to, by the token."""

    def __init__(self, post) -> None:
        post.house.service().tick()
        self.look = post.house.service().look
        self.inbox = Inbox(str(post.house.env_file))
        self.verdicts = {}
        self.judged, self.refused = [], []
        self.receiver = Receiver(self.look, self.accept, self.inbox, self.refused.append)

    def accept(self, made):
        token = made.token.reveal()
        self.judged.append(token)
        if verdict := self.verdicts.get(token):
            raise verdict

    def post(self, number=0):
        return self.receiver.receive(WebRequest("POST", "/", body=body_of(number))).status


@pytest.fixture
def judge(post):
    """A receiver whose thread does not run: the test has the judging done."""
    return Judge(post)


def test_it_is_on_disk_before_it_is_answered(judge, post):
    """Readable by its owner alone; another process finds it there."""
    assert judge.post() == 200
    assert stat.S_IMODE(os.stat(post.inbox).st_mode) == 0o600
    assert [each.token.reveal() for each in Inbox(str(post.house.env_file)).waiting] == ["token-0"]
    assert is_any_waiting(str(post.house.env_file))
    assert judge.judged == []
    judge.receiver.judge()
    assert judge.judged == ["token-0"]
    assert not is_any_waiting(str(post.house.env_file))


def test_while_the_broker_is_away_it_waits_and_blocks_no_other(judge):
    """Whoever cannot be judged is tried again, with growing pauses, and not always first."""
    judge.verdicts["token-0"] = TemporaryFailure("Away.", "Later.")
    judge.post(0)
    judge.post(1)
    pauses = [judge.receiver.judge() for _ in range(3)]

    assert judge.judged[0] == "token-0"
    assert "token-1" in judge.judged
    assert pauses[0] == timedelta(seconds=5)
    assert all(pause is not None and pause <= SOON for pause in pauses)
    assert [each.token.reveal() for each in judge.inbox.waiting] == ["token-0"]


def test_a_refused_token_is_forgotten_and_known_again(judge, post):
    """The same again is dropped without the broker; refusals are at least a second apart."""
    judge.verdicts["token-0"] = TokenRejected("Dead.", "No.")
    judge.post(0)
    judge.post(1)

    assert judge.receiver.judge() == timedelta(seconds=1)
    assert judge.judged == ["token-0"]
    assert judge.post(0) == 200
    assert judge.receiver.judge() is None
    assert judge.judged == ["token-0", "token-1"]
    assert judge.refused == ["refused by the broker, or outdated", "replayed"]


def test_a_full_inbox_says_come_again(judge):
    """Sixteen wait; one that waits already is no other."""
    statuses = [judge.post(number) for number in range(17)]

    assert statuses == [200] * 16 + [503]
    assert judge.post(3) == 200
    assert len(judge.inbox.waiting) == 16


def test_what_cannot_be_kept_is_not_called_taken(judge, monkeypatch):
    """Upstox is told so; it may try again."""

    def fail(*arguments):
        raise StoreError("The disk is full.", "Free some room.")

    monkeypatch.setattr(Replacement, "commit", fail)

    assert judge.post() == 503
    assert judge.inbox.waiting == ()


def test_a_restart_judges_what_was_left(post):
    """It was answered 200, so it is ours to see through."""
    token = post.house.broker.mint()
    made = delivery()
    Inbox(str(post.house.env_file)).add(
        Delivery(Secret(token), made.client_id, made.user_id, made.issued_at, made.expires_at)
    )
    with post.open():
        is_stored = post.is_stored(token)

    assert is_stored
    assert not post.inbox.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[{}]", b"[1]", b"null", b"\xff\xfe"])
def test_a_broken_inbox_is_an_empty_one(post, content):
    """Nothing in it can be trusted, and nothing in it may keep a service from starting."""
    post.inbox.write_bytes(content)

    assert Inbox(str(post.house.env_file)).waiting == ()


def test_a_new_secret_counts_at_once_and_the_old_one_no_more(post):
    """No restart is needed to register another address."""
    new = "n" * 43
    with post.open():
        broker, old = post.house.broker, post.house.broker.notifier_url
        post.house.set(UPSTOX_NOTIFIER_SECRET=new)
        post.house.clock.advance(seconds=2)
        token = broker.mint()
        refused = broker.send_webhook(token)
        broker.notifier_url = old.replace(KEY_PART, new)
        taken = broker.send_webhook(token)
        is_stored = post.is_stored(token)

    assert (refused, taken, is_stored) == (404, 200, True)


def test_a_slip_in_the_env_closes_no_address(post):
    """The settings of before hold on."""
    with post.open():
        post.house.service(is_listening=True).tick()
        post.house.set(UPSTOX_SESSION="9")
        post.house.clock.advance(seconds=2)
        token = post.house.broker.approve()
        is_stored = post.is_stored(token)

    assert is_stored

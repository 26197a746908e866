"""Access Token Request v3 as documented: a request, a tap, one webhook, and no status."""

import json
from datetime import timedelta

import pytest
from unit.simulator.practice import at, error_of

from broker_tokens.simulator.approvals import post
from broker_tokens.simulator.broker import Endpoint, Request, SimulatedUpstox

REQUEST = "/v3/login/auth/token/request/sim-client"
ADDRESS = "https://trader.example.com/notifier/s3cret"
APPROVED = {
    "client_id": "sim-client",
    "user_id": "SIM001",
    "token_type": "Bearer",
    "issued_at": str(int(at("2026-11-20T09:00:00").timestamp()) * 1000),
    "expires_at": str(int(at("2026-11-21T03:30:00").timestamp()) * 1000),
    "message_type": "access_token",
}


class Sent(list):
    """What was delivered, each taken."""

    def __call__(self, url, body):
        self.append((url, json.loads(body)))
        return 200


@pytest.fixture
def sent():
    """What the notifier's address was sent."""
    return Sent()


@pytest.fixture
def broker(clock, sent):
    """A broker that knows where to deliver."""
    return SimulatedUpstox(clock, notifier_url=ADDRESS, deliver=sent)


def ask(broker, secret="sim-secret", path=REQUEST, method="POST"):
    """Request an approval."""
    body = {} if secret is None else {"client_secret": secret}
    return broker.handle(Request(method, path, {}, {}, json.dumps(body).encode()))


def test_a_request_is_taken_until_the_next_cut(broker):
    """The reply is the documented one: a time in milliseconds as text, and the address."""
    reply = ask(broker)

    assert reply.status == 200
    assert reply.json() == {
        "status": "success",
        "data": {"authorization_expiry": APPROVED["expires_at"], "notifier_url": ADDRESS},
    }
    assert broker.pending_approval.expires_at == at("2026-11-21T03:30:00")
    assert broker.approval_requests == 1


def test_one_asked_for_at_night_ends_with_the_night(broker, clock):
    """At 02:30 it has an hour left."""
    clock.now = at("2026-11-21T02:30:00")
    ask(broker)
    clock.now = at("2026-11-21T03:30:00")

    assert broker.pending_approval is None
    with pytest.raises(LookupError):
        broker.approve()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"secret": "wrong"}, (401, "UDAPI100069")),
        ({"path": REQUEST + "x"}, (401, "UDAPI100069")),
        ({"secret": None}, (400, "UDAPI1024")),
        ({"path": REQUEST.removesuffix("sim-client")}, (400, "UDAPI1017")),
        ({"method": "GET"}, (405, "UDAPI10000")),
    ],
)
def test_a_wrong_request_is_refused_and_asks_nobody(broker, changes, refusal):
    """With the documented code."""
    assert error_of(ask(broker, **changes)) == refusal
    assert broker.pending_approval is None


def test_an_app_without_an_address_is_refused(broker):
    """Until one is registered."""
    broker.notifier_url = ""
    assert error_of(ask(broker)) == (400, "UDAPI1123")
    broker.notifier_url = ADDRESS
    assert ask(broker).status == 200


@pytest.mark.parametrize("code", ["UDAPI1124", "UDAPI1155", "UDAPI1157"])
def test_an_app_in_a_bad_state_is_refused(broker, code):
    """As the test says."""
    broker.approval_refusal = code

    assert error_of(ask(broker)) == (400, code)
    assert broker.pending_approval is None


def test_a_tap_delivers_the_documented_webhook_once(broker, sent):
    """Its token lives; the request is answered."""
    ask(broker)
    token = broker.approve()

    assert sent == [(ADDRESS, APPROVED | {"access_token": token})]
    assert broker.is_live(token)
    assert [(each.url, each.status) for each in broker.deliveries] == [(ADDRESS, 200)]
    with pytest.raises(LookupError):
        broker.approve()


def test_copies_are_the_same_webhook(broker, sent):
    """As a sender that is not sure delivers it."""
    ask(broker)
    broker.approve(copies=3)

    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]


def test_a_second_request_replaces_the_first(broker, clock, sent):
    """There is one on the phone."""
    ask(broker)
    clock.advance(minutes=5)
    ask(broker)
    broker.approve()

    assert len(sent) == 1
    assert broker.pending_approval is None


def test_a_rejected_request_is_silent(broker, sent):
    """Nothing is sent, and there is nothing to ask after."""
    ask(broker)
    broker.reject()

    assert (sent, broker.pending_approval) == ([], None)
    with pytest.raises(LookupError):
        broker.reject()


def test_a_webhook_can_be_forged_field_by_field(broker, sent):
    """Anybody can send one."""
    broker.send_webhook("made-up", user_id="EVIL", token_type=None)
    ((_, body),) = sent

    expected = APPROVED | {"access_token": "made-up", "user_id": "EVIL"}
    del expected["token_type"]
    assert body == expected
    assert not broker.is_live("made-up")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://broker.invalid/", "nonsense"])
def test_a_delivery_that_nobody_takes_is_known(clock, url):
    """And the token lives all the same: it is lost to the app."""
    broker = SimulatedUpstox(clock, notifier_url=url, deliver=post)
    ask(broker)
    token = broker.approve()

    assert [each.status for each in broker.deliveries] == [0]
    assert broker.is_live(token)


def test_a_fault_is_the_next_reply_and_no_more(broker):
    """For one endpoint at a time."""
    broker.faults[Endpoint.APPROVAL] = ["UDAPI100500"]

    assert error_of(ask(broker)) == (500, "UDAPI100500")
    assert broker.pending_approval is None
    assert ask(broker).status == 200


def test_the_gate_of_the_static_ip_closes_the_profile_alone(broker):
    """A price is to be had from everywhere."""
    broker.static_ip_gate = True
    token = broker.mint()
    header = {"Authorization": f"Bearer {token}"}
    profile = broker.handle(Request("GET", "/v2/user/profile", {}, header))
    query = {"instrument_key": "NSE_INDEX|Nifty 50"}
    price = broker.handle(Request("GET", "/v3/market-quote/ltp", query, header))

    assert error_of(profile) == (401, "UDAPI1221")
    assert price.status == 200


def test_the_requests_own_life_is_counted_by_the_brokers_clock(broker, clock):
    """A day later there is none."""
    ask(broker)
    clock.now += timedelta(days=1)

    assert broker.pending_approval is None

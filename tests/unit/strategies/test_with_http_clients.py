"""`requests` and `httpx` with a live token: the real libraries against the simulated broker."""

import asyncio
from contextlib import contextmanager

import httpx
import pytest
import requests
from support.hostile import HostileServer, http
from support.house import ist, running_house

from broker_tokens import with_httpx, with_requests
from broker_tokens.bearer import Bearer
from broker_tokens.simulator.broker import Endpoint, RefreshGrant
from upstox_token_manager import LoginRequired

PROFILE = "/v2/user/profile"
ORDER = "/v3/order/place"


class ByRequests:
    """`requests`, with the token as the session's auth."""

    def __init__(self, manager):
        self.session = requests.Session()
        self.session.auth = with_requests.UpstoxAuth(manager)

    def call(self, method, url):
        return self.session.request(method, url, timeout=10)

    def close(self):
        self.session.close()


class ByHttpx:
    """`httpx`, in the usual way."""

    def __init__(self, manager):
        self.client = httpx.Client(auth=with_httpx.UpstoxAuth(manager), trust_env=False)

    def call(self, method, url):
        return self.client.request(method, url)

    def close(self):
        self.client.close()


class ByAsyncHttpx:
    """`httpx` in an event loop."""

    def __init__(self, manager):
        self.auth = with_httpx.UpstoxAuth(manager)

    def call(self, method, url):
        async def call():
            async with httpx.AsyncClient(auth=self.auth, trust_env=False) as client:
                return await client.request(method, url)

        return asyncio.run(call())

    def close(self):
        pass


@pytest.fixture(params=[ByRequests, ByHttpx, ByAsyncHttpx])
def kind(request):
    """One of the three clients."""
    return request.param


@pytest.fixture
def rotating(tmp_path):
    """Friday 10:00, logged in, a broker that renews."""
    with running_house(tmp_path, "2026-11-20 10:00", RefreshGrant.ROTATING) as made:
        made.log_in()
        yield made


@pytest.fixture
def house(tmp_path):
    """The same with a broker that renews nothing, as Upstox documents it."""
    with running_house(tmp_path, "2026-11-20 10:00") as made:
        made.log_in()
        yield made


@contextmanager
def client_of(kind, house):
    client = kind(house.manager())
    try:
        yield client
    finally:
        client.close()


def asked(house, endpoint):
    return [record.status for record in house.broker.requests if record.endpoint is endpoint]


def test_every_call_has_the_token_of_the_moment(kind, rotating):
    """Before and after a renewal by the service, without a new client."""
    with client_of(kind, rotating) as client:
        codes = [client.call("GET", rotating.url + PROFILE).status_code]
        rotating.clock.now = ist("2026-11-21 03:31")
        rotating.service().renew()
        codes.append(client.call("GET", rotating.url + PROFILE).status_code)

    assert codes == [200, 200]
    assert asked(rotating, Endpoint.PROFILE) == [200, 200]


def test_a_dead_token_is_renewed_and_a_safe_call_repeated_once(kind, rotating):
    """The caller sees the answer of the second try alone."""
    rotating.broker.revoke_all()
    with client_of(kind, rotating) as client:
        reply = client.call("GET", rotating.url + PROFILE)

    assert reply.status_code == 200
    assert asked(rotating, Endpoint.PROFILE) == [401, 200]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_an_order_is_never_sent_twice(kind, rotating, method):
    """Its 401 is the answer; the token is renewed all the same, for the next call."""
    rotating.broker.revoke_all()
    rotating.broker.faults[Endpoint.ORDER] = ["UDAPI100050"]
    with client_of(kind, rotating) as client:
        reply = client.call(method, rotating.url + ORDER)
        after = client.call("GET", rotating.url + PROFILE)

    assert (reply.status_code, after.status_code) == (401, 200)
    assert len(asked(rotating, Endpoint.ORDER)) == 1
    assert asked(rotating, Endpoint.PROFILE) == [200]


def test_a_token_that_another_process_has_renewed_is_read_again(kind, rotating):
    """Nobody is asked to renew once more."""
    with client_of(kind, rotating) as client:
        assert client.call("GET", rotating.url + PROFILE).status_code == 200
        rotating.broker.faults[Endpoint.PROFILE] = ["UDAPI100050"]
        tokens = iter(["old", rotating.manager().get_current_token()])
        manager = rotating.manager()
        manager.get_current_token = lambda: next(tokens)
        with client_of(lambda _: kind(manager), rotating) as other:
            reply = other.call("GET", rotating.url + PROFILE)

    assert reply.status_code == 200
    assert rotating.broker.token_requests == 1


def test_what_is_refused_twice_is_not_tried_a_third_time(kind, rotating):
    """The second 401 is the answer."""
    rotating.broker.revoke_all()
    rotating.broker.faults[Endpoint.PROFILE] = ["UDAPI100050", "UDAPI100050"]
    with client_of(kind, rotating) as client:
        reply = client.call("GET", rotating.url + PROFILE)

    assert reply.status_code == 401
    assert len(asked(rotating, Endpoint.PROFILE)) == 2


def test_a_refusal_that_is_not_the_tokens_fault_renews_nothing(kind, rotating):
    """A static-IP gate answers 401, too."""
    rotating.broker.static_ip_gate = True
    with client_of(kind, rotating) as client:
        reply = client.call("GET", rotating.url + PROFILE)

    assert reply.status_code == 401
    assert rotating.broker.token_requests == 1
    assert asked(rotating, Endpoint.LTP) == []


def test_a_token_that_the_broker_calls_alive_is_kept(kind, rotating):
    """One odd 401, and the price is there: nothing is repeated or renewed."""
    rotating.broker.faults[Endpoint.PROFILE] = ["UDAPI100050"]
    with client_of(kind, rotating) as client:
        reply = client.call("GET", rotating.url + PROFILE)

    assert reply.status_code == 401
    assert rotating.broker.token_requests == 1
    assert asked(rotating, Endpoint.LTP) == [200]


def test_where_only_a_person_can_help_the_401_is_the_answer(kind, house):
    """The next call says what is to be done."""
    house.broker.revoke_all()
    with client_of(kind, house) as client:
        reply = client.call("GET", house.url + PROFILE)
        with pytest.raises(LoginRequired, match="init_tokens"):
            client.call("GET", house.url + PROFILE)

    assert reply.status_code == 401


def test_no_stranger_gets_the_token(kind, house):
    """A session that also sends messages elsewhere sends them without."""

    def say_ok(line):
        line.read_request()
        line.send(http(200, {}))

    with HostileServer((say_ok,)) as stranger, client_of(kind, house) as client:
        client.call("GET", stranger.url + "/bot")

        assert "authorization" not in stranger.requests[0].headers


def test_strangers_are_reached_while_the_file_is_away(kind, house):
    """What has nothing to do with Upstox does not need its `.env`."""
    with HostileServer((http(200, {}),)) as stranger, client_of(kind, house) as client:
        house.env_file.unlink()

        assert client.call("GET", stranger.url + "/bot").status_code == 200


def test_a_stranger_to_whom_upstox_redirects_cannot_ask_for_the_token(kind, house):
    """Neither by a redirect nor by calling dead what it was not given."""
    body = {"status": "error", "errors": [{"errorCode": "UDAPI100050"}]}
    with (
        HostileServer((http(401, body),)) as stranger,
        HostileServer((http(302, b"", location=stranger.url + "/file"),)) as upstox,
    ):
        house.set(UPSTOX_API_URL=upstox.url.replace("127.0.0.1", "localhost"))
        with client_of(kind, house) as client:
            client.call("GET", upstox.url.replace("127.0.0.1", "localhost") + "/reports")
        seen = [request.headers for request in stranger.requests]

    assert "authorization" in upstox.requests[0].headers
    assert not [headers for headers in seen if "authorization" in headers]


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://api.upstox.com/v2/user/profile", True),
        ("https://api-hft.upstox.com/v3/order/place", True),
        ("https://upstox.com/", True),
        ("http://api.upstox.com/v2/user/profile", False),
        ("https://api.upstox.com.evil.example/", False),
        ("https://evilupstox.com/", False),
        ("https://api.telegram.org/bot", False),
        ("https://user:api.upstox.com@evil.example/", False),
    ],
)
def test_the_token_goes_to_upstox_alone(house, url, may):
    """Over https, and to its hosts."""
    assert Bearer(house.manager()).may_go_to(url) is may

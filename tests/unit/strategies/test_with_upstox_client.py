"""Upstox's own SDK, bound to the `.env`: its calls and its streamers use the new token."""

import copy
import gc
import threading
from contextlib import contextmanager
from queue import Queue

import pytest
import upstox_client
import websocket
from support.doors import LIMIT
from support.feed import running_feed
from support.house import ist, running_house
from websockets.exceptions import ConnectionClosed

from broker_tokens.simulator.broker import Endpoint, RefreshGrant
from broker_tokens.with_upstox_client import bind, keep_connected
from upstox_token_manager import LoginRequired

# websocket-client, the SDK's, leaves the socket of a connection that broke to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def collected():
    """The collector comes while that is known, not in a later test."""
    yield
    see_streamers_end()
    gc.collect()


def see_streamers_end():
    for thread in threading.enumerate():
        if "run_forever" in thread.name:
            thread.join(LIMIT)


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch):
    """A connection closed by its own side sees that when the library looks next, after 10 s."""
    plain = websocket.WebSocketApp.run_forever

    def run_forever(self, **options):
        return plain(self, ping_timeout=0.2, **options)

    monkeypatch.setattr(websocket.WebSocketApp, "run_forever", run_forever)


@pytest.fixture
def house(tmp_path):
    """Friday 10:00, logged in, a broker that renews."""
    with running_house(tmp_path, "2026-11-20 10:00", RefreshGrant.ROTATING) as made:
        made.log_in()
        yield made


@contextmanager
def bound_client(house):
    configuration = bind(upstox_client.Configuration(), house.manager())
    configuration.host = house.url
    client = upstox_client.ApiClient(configuration)
    try:
        yield client
    finally:
        client.rest_client.pool_manager.clear()
        client.pool.close()
        client.pool.join()


def test_each_call_has_the_token_of_the_moment(house):
    """A client made in the morning works after the night's renewal."""
    with bound_client(house) as client:
        api = upstox_client.UserApi(client)
        first = api.get_profile("2.0")
        house.clock.now = ist("2026-11-21 03:31")
        house.service().renew()
        second = api.get_profile("2.0")

    assert (first.status, second.status) == ("success", "success")
    statuses = [r.status for r in house.broker.requests if r.endpoint is Endpoint.PROFILE]
    assert statuses == [200, 200]


def test_a_dead_token_is_renewed_before_the_call(house):
    """Nobody has to renew for it."""
    with bound_client(house) as client:
        house.clock.now = ist("2026-11-21 03:31")

        assert upstox_client.UserApi(client).get_profile("2.0").status == "success"


def test_without_a_token_the_call_says_what_to_do(tmp_path):
    """The SDK passes our error on."""
    with (
        running_house(tmp_path) as house,
        bound_client(house) as client,
        pytest.raises(LoginRequired, match="init_tokens"),
    ):
        upstox_client.UserApi(client).get_profile("2.0")


def test_a_copy_is_bound_too_and_other_configurations_are_not(house):
    """The SDK copies the first configuration for later ones."""
    configuration = bind(upstox_client.Configuration(), house.manager())
    token = house.manager().get_current_token()

    assert copy.copy(configuration).access_token == configuration.access_token == token
    assert configuration.auth_settings()["OAUTH2"]["value"] == f"Bearer {token}"
    assert isinstance(configuration, upstox_client.Configuration)
    assert upstox_client.Configuration().access_token == ""


def test_a_token_set_by_hand_is_refused_with_the_reason(house):
    """It would be yesterday's tomorrow."""
    configuration = bind(upstox_client.Configuration(), house.manager())

    with pytest.raises(AttributeError, match=r"from \.env"):
        configuration.access_token = "by hand"


@contextmanager
def streaming(house, folder, monkeypatch):
    """Run the SDK's streamer against a feed; its events come out of a queue."""
    events = Queue()
    with running_feed(house.broker, folder) as feed, bound_client(house) as client:
        monkeypatch.setenv("https_proxy", feed.proxy)
        streamer = upstox_client.MarketDataStreamerV3(client, ["NSE_INDEX|Nifty 50"], "ltpc")
        for name in ("open", "close", "message", "error"):
            streamer.on(name, lambda *what, name=name: events.put((name, what)))
        streamer.auto_reconnect(enable=True, interval=0, retry_count=5)
        try:
            yield feed, streamer, events
        finally:
            streamer.auto_reconnect(enable=False)
            feed.close_all()  # told by the other end it ends at once, by its own end after 10 s
            see_streamers_end()
            streamer.disconnect()


def until(events, name):
    """Return the next event of this name."""
    while True:
        found, what = events.get(timeout=LIMIT)
        if found == name:
            return what


def test_a_streamer_connects_with_the_stored_token(house, tmp_path, monkeypatch):
    """The real SDK, over TLS, gets a price."""
    with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
        streamer.connect()
        (message,) = until(events, "message")

    assert feed.tokens.get_nowait() == house.manager().access_token
    assert message["feeds"]["NSE_INDEX|Nifty 50"]["ltpc"]["ltp"] == 23_456.7


def test_a_streamer_that_is_cut_off_reconnects_with_the_new_token(house, tmp_path, monkeypatch):
    """Upstox ends it at 03:30; the SDK's own next try renews."""
    with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
        streamer.connect()
        until(events, "message")
        house.clock.now = ist("2026-11-21 03:31")
        feed.close_all()
        until(events, "message")

    old, new = feed.tokens.get_nowait(), feed.tokens.get_nowait()
    assert old != new == house.manager().access_token
    assert feed.tokens.empty()


def test_a_streamer_that_has_given_up_is_connected_again_with_the_next_token(tmp_path, monkeypatch):
    """No token until 08:30: the SDK has given up at 03:30, and trades again when it is there."""
    with running_house(tmp_path, "2026-11-20 10:00") as house:
        old = house.log_in()
        manager = house.manager()
        with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
            stop = keep_connected(streamer, manager)
            streamer.connect()
            until(events, "message")
            house.clock.now = ist("2026-11-21 03:30")
            feed.close_all()
            until(events, "error")
            house.clock.now = ist("2026-11-21 08:30")
            new = house.log_in()
            until(events, "open")
            until(events, "message")
            stop()

    assert [feed.tokens.get_nowait() for _ in range(2)] == [old, new]
    assert feed.tokens.empty()


def test_a_streamer_changes_over_without_waiting_for_the_old_tokens_end(
    house, tmp_path, monkeypatch
):
    """One connection after the other, never two: the old one's end starts no third."""
    with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
        stop = keep_connected(streamer, house.manager())
        streamer.connect()
        until(events, "message")
        house.service().renew()
        until(events, "open")
        until(events, "message")
        stop()

    assert len({feed.tokens.get_nowait() for _ in range(2)}) == 2
    assert feed.tokens.empty()


def test_the_sdks_own_try_takes_the_place_of_ours(house, tmp_path, monkeypatch):
    """It may come late, from a thread nobody can stop: the later connection is the only one."""
    with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
        stop = keep_connected(streamer, house.manager())
        streamer.connect()
        until(events, "message")
        streamer.launch_auto_reconnect()
        until(events, "message")
        stop()
        first, second = feed.connections
        with pytest.raises(ConnectionClosed):
            first.ping()
        second.ping()

    assert feed.tokens.qsize() == 2


def test_a_connection_that_cannot_be_made_at_once_is_tried_again(house, tmp_path, monkeypatch):
    """The feed is away for a moment when the new token comes."""
    with streaming(house, tmp_path, monkeypatch) as (feed, streamer, events):
        stop = keep_connected(streamer, house.manager())
        streamer.connect()
        until(events, "message")
        streamer.disconnect_valid = True  # as a 401 leaves it: the SDK is to try no more
        feed.away = 2
        house.service().renew()
        until(events, "error")
        until(events, "message")
        stop()

    assert feed.tokens.qsize() == 2

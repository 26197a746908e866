"""Waiting for another token: by function, by callback, in an event loop."""

import asyncio
import logging
from contextlib import contextmanager
from datetime import timedelta
from queue import Queue

import pytest
from support.doors import LIMIT
from support.house import ist, running_house

from broker_tokens.changes import LOOK_SECONDS, Changes
from broker_tokens.errors import StoreError, TemporaryFailure
from broker_tokens.simulator.broker import RefreshGrant


class Store:
    """A stored token that changes while one sleeps; time passes in sleep alone."""

    def __init__(self, *later):
        self.live = "old"
        self.later = list(later)
        self.now = 0.0
        self.renewals = []
        self.changes = Changes(self.token, self.renew, lambda: self.now)

    def token(self):
        if isinstance(self.live, Exception):
            raise self.live
        return self.live

    def renew(self):
        self.renewals.append(self.now)
        raise TemporaryFailure("No luck.")

    def pause(self, seconds):
        self.now += seconds
        if self.later:
            self.live = self.later.pop(0)

    def wait(self, since="old", timeout=None):
        return self.changes.wait(since, timeout, self.pause)


def test_a_new_token_is_told_at_the_next_look():
    """A look a second."""
    store = Store("old", "old", "new")

    assert store.wait() == "new"
    assert store.now == 3 * LOOK_SECONDS


def test_a_token_that_is_new_already_is_told_at_once():
    """It changed between the connection that uses it and this call."""
    store = Store()

    assert store.wait(since="older") == "old"
    assert store.now == 0


def test_nothing_new_ends_with_the_time():
    """To the fraction of a second; with no time there is but one look."""
    store = Store()

    assert store.wait(timeout=timedelta(seconds=2.5)) is None
    assert store.now == 2.5
    assert store.wait(timeout=timedelta(0)) is None
    assert store.now == 2.5


def test_a_dead_token_is_no_news_and_its_successor_is():
    """From 03:30 to 08:30 there is none."""
    store = Store(None, None, "new")

    assert store.wait() == "new"


def test_a_file_that_cannot_be_read_for_a_moment_is_waited_for():
    """Somebody edits it."""
    store = Store(StoreError("Gone."), "new")

    assert store.wait() == "new"


def test_a_dead_token_is_tried_to_be_renewed_twice_a_minute():
    """Where no service runs; what goes wrong is not the waiter's affair."""
    store = Store(*[None] * 90)
    store.live = None
    store.wait(since=None, timeout=timedelta(seconds=90))

    assert store.renewals == [0, 30, 60, 90]


def test_a_live_token_is_left_alone():
    """Its renewal is the service's."""
    store = Store(*["old"] * 90)
    store.wait(timeout=timedelta(seconds=90))

    assert store.renewals == []


def test_a_pause_that_is_ended_ends_the_wait():
    """As by whoever asked to be called."""
    store = Store()

    assert store.changes.wait("old", None, lambda _: True) is None


@pytest.fixture
def house(tmp_path):
    """Friday 10:00, logged in, a broker that renews."""
    with running_house(tmp_path, "2026-11-20 10:00", RefreshGrant.ROTATING) as made:
        made.log_in()
        yield made


@contextmanager
def told(manager, callback=None):
    news = Queue()
    stop = manager.on_change(callback or news.put)
    try:
        yield news
    finally:
        stop()


def test_a_manager_waits_for_another_processs_token(house):
    """The service renews at 03:31; the strategy's connection is made anew."""
    manager = house.manager()
    old = manager.get_current_token()
    house.clock.now = ist("2026-11-21 03:31")
    house.service().renew()
    new = manager.wait_for_change(timedelta(seconds=LIMIT), since=old)

    assert new != old
    assert new == manager.get_current_token()
    assert manager.wait_for_change(timedelta(0)) is None
    assert manager.wait_for_change(timedelta(0), since="") == new


def test_waiting_renews_where_no_service_does(house):
    """At 03:31 the grant brings another."""
    manager = house.manager()
    old = manager.get_current_token()
    house.clock.now = ist("2026-11-21 03:31")
    new = manager.wait_for_change(timedelta(seconds=LIMIT), since=old)

    assert house.broker.is_live(new)
    assert house.broker.token_requests == 2


def test_an_event_loop_waits_without_standing_still(house):
    """Other tasks go on, among them the one that makes the change."""
    manager = house.manager()
    old = manager.get_current_token()

    async def renew():
        house.service().renew()

    async def both():
        waiting = asyncio.create_task(
            manager.wait_for_change_async(timedelta(seconds=LIMIT), since=old)
        )
        await asyncio.sleep(0)
        await asyncio.create_task(renew())
        return await waiting

    assert asyncio.run(both()) == manager.access_token != old


def test_an_event_loop_renews_and_gives_up_in_time(house):
    """A dead token is renewed, and a wait for what does not come ends."""
    manager = house.manager()
    old = manager.get_current_token()
    house.clock.now = ist("2026-11-21 03:31")
    new = asyncio.run(manager.wait_for_change_async(timedelta(seconds=LIMIT), since=old))

    assert house.broker.is_live(new)
    assert asyncio.run(manager.wait_for_change_async(timedelta(0))) is None


def test_a_callback_is_called_with_each_new_token(house):
    """Not with the one that is there, and not after it was ended."""
    manager = house.manager()
    with told(manager) as news:
        house.service().renew()
        first = news.get(timeout=LIMIT)
        house.service().renew()
        second = news.get(timeout=LIMIT)
        last = manager.access_token

    assert first != second == last
    assert news.empty()


def test_a_callback_that_fails_is_called_again_the_next_time(house, caplog):
    """What it raised is in the log, and no token is."""
    calls = Queue()

    def fail(token):
        calls.put(token)
        raise ValueError(token)

    with caplog.at_level(logging.ERROR), told(house.manager(), fail):
        house.service().renew()
        first = calls.get(timeout=LIMIT)
        house.service().renew()
        second = calls.get(timeout=LIMIT)

    assert first != second
    assert "ValueError" in caplog.text
    assert first not in caplog.text

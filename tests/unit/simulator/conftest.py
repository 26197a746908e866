"""A clock that stands at 09:00 of a trading day, and brokers and clients on it."""

from collections.abc import Callable

import pytest
from unit.simulator.practice import Client, HandClock, at

from broker_tokens.simulator.broker import RefreshGrant, SimulatedUpstox


@pytest.fixture
def clock() -> HandClock:
    return HandClock(at("2026-11-20T09:00:00"))


@pytest.fixture
def broker(clock: HandClock) -> SimulatedUpstox:
    return SimulatedUpstox(clock)


@pytest.fixture
def client(broker: SimulatedUpstox) -> Client:
    return Client(broker)


@pytest.fixture
def client_of(clock: HandClock) -> Callable[..., Client]:
    """Make a client of a broker with other switches."""
    return lambda **switches: Client(SimulatedUpstox(clock, **switches))


@pytest.fixture
def refreshing(clock: HandClock) -> Client:
    return Client(SimulatedUpstox(clock, refresh=RefreshGrant.ON))


@pytest.fixture
def rotating(clock: HandClock) -> Client:
    return Client(SimulatedUpstox(clock, refresh=RefreshGrant.ROTATING))

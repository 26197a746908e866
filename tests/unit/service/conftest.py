"""A house for each test, with or without the refresh grant."""

import pytest
from support.house import running_house

from broker_tokens.simulator.broker import RefreshGrant


@pytest.fixture
def house(tmp_path):
    """Friday 08:00, no refresh grant, as Upstox documents it."""
    with running_house(tmp_path) as made:
        yield made


@pytest.fixture
def rotating(tmp_path):
    """Thursday 20:00, with a refresh grant that rotates."""
    with running_house(tmp_path, "2026-11-19 20:00", RefreshGrant.ROTATING) as made:
        yield made

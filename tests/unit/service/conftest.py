"""A house for each test, with or without the refresh grant."""

import pytest
from support.house import running_house
from unit.service.approvals import ADDRESS, CUT, KEY
from unit.service.scripted import ScriptedBroker

from broker_tokens.brokers import ApprovalReply
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


@pytest.fixture
def listening(house):
    """Friday 08:00, an account that is known, and an address for the answer."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID="SIM001")
    return house


@pytest.fixture
def broker():
    """A broker that takes every request."""
    made = ScriptedBroker()
    made.approve_with = lambda: ApprovalReply(CUT, ADDRESS)
    return made

"""One booted machine for all tests here, before a simulated broker of this process."""

import os

import pytest
from support.booted import booted, missing
from support.doors import open_doors

from broker_tokens.simulator.broker import RefreshGrant


@pytest.fixture(scope="session")
def machine():
    """A Debian with a real systemd; skipped where there can be none, but not in CI."""
    if lacking := missing():
        assert not os.environ.get("CI"), f"CI has {lacking}"
        pytest.skip(f"a booted systemd needs: {', '.join(lacking)}")
    with booted() as up:
        yield up


@pytest.fixture
def broker(tmp_path):
    """A broker with rotating refresh tokens, reached from there as from here."""
    with open_doors(tmp_path, RefreshGrant.ROTATING) as opened:
        yield opened

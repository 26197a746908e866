"""The trader's machine of these tests."""

import os

import pytest
from support.doors import REFRESH_TOKEN, open_doors

from broker_tokens.simulator.broker import RefreshGrant

collect_ignore_glob = ["*"] if os.name == "nt" else []  # signals and modes are those of POSIX


@pytest.fixture
def doors(tmp_path):
    """A machine before a broker without refresh tokens, as documented."""
    with open_doors(tmp_path) as opened:
        yield opened


@pytest.fixture
def rotating(tmp_path):
    """A machine before a broker with rotating refresh tokens."""
    with open_doors(tmp_path, RefreshGrant.ROTATING) as opened:
        yield opened


@pytest.fixture
def due(doors):
    """A `.env` with a refresh token and no access token: a silent renewal is due at any hour.

    The session is over before anybody would be asked, so that the hour of the test counts nothing.
    """
    doors.broker.secrets.add(REFRESH_TOKEN)
    doors.write(UPSTOX_REFRESH_TOKEN=REFRESH_TOKEN, UPSTOX_SESSION="03:31-03:32")
    return doors

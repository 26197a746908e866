"""The trader's machine of these tests."""

import os

import pytest
from support.doors import open_doors

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

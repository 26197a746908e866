"""A listener before a simulated broker, on a Friday at 08:00."""

import threading
from contextlib import contextmanager

import pytest
from support.house import running_house

from broker_tokens.announcer import Announcer
from broker_tokens.attendance import Heartbeat
from broker_tokens.env_text import EnvText
from broker_tokens.listener import listening
from broker_tokens.place import Place

KEY = "k" * 43
LIMIT = 30


class Post:
    """The listener of one house; `stored` is set when it has accepted a token."""

    def __init__(self, house) -> None:
        self.house = house
        self.stored = threading.Event()
        self.heartbeat = Heartbeat(str(house.env_file), house.clock)
        house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID="SIM001")

    @contextmanager
    def open(self):
        """Listen; the broker knows the address."""
        announcer = Announcer([self.house.events.append])
        with listening(
            str(self.house.env_file),
            Place("127.0.0.1", 0),
            announcer,
            self.stored.set,
            environ={},
            clock=self.house.clock,
            heartbeat=self.heartbeat,
        ) as place:
            self.port = place.port
            self.house.broker.notifier_url = f"http://{place}/notifier/{KEY}"
            yield self

    @property
    def values(self):
        """What `.env` says now."""
        return EnvText(self.house.env_file.read_bytes()).values

    @property
    def inbox(self):
        """The file of what waits."""
        return self.house.env_file.with_name(".env.inbox")

    def is_stored(self, token) -> bool:
        """Wait for something to be stored; return whether it is this token."""
        assert self.stored.wait(LIMIT)
        return self.values["access_token"] == token


@pytest.fixture
def house(tmp_path):
    """No refresh grant, as Upstox documents it."""
    with running_house(tmp_path) as made:
        yield made


@pytest.fixture
def post(house):
    """A listener, still closed."""
    return Post(house)

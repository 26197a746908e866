"""A `.env`, a simulated broker behind a real HTTP server, and everything that uses them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import requests

from broker_tokens.app import build_service
from broker_tokens.clock import IST
from broker_tokens.service import TokenService
from broker_tokens.simulator.broker import RefreshGrant, SimulatedUpstox
from broker_tokens.simulator.server import SimulatorServer
from upstox_token_manager import UpstoxTokenManager


def ist(text: str) -> datetime:
    """Return an IST time written `2026-11-20 09:00` or with seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=IST)


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **length: float) -> None:
        """Move on, by hours=, minutes= or seconds=."""
        self.now += timedelta(**length)


@dataclass
class House:
    """One trader's machine: the clock that all share, the broker, and the `.env`."""

    clock: HandClock
    broker: SimulatedUpstox
    url: str
    env_file: Path
    events: list = field(default_factory=list)

    def service(self, **options) -> TokenService:
        """Return a service on this `.env`; its events are kept in `events`."""
        options.setdefault("observers", [self.events.append])
        return build_service(str(self.env_file), environ={}, clock=self.clock, **options)

    def manager(self) -> UpstoxTokenManager:
        """Return what a strategy uses."""
        return UpstoxTokenManager(self.env_file, environ={}, clock=self.clock)

    def consent(self, state: str | None = "s") -> str:
        """Log in as the person does and return the redirect address with its code."""
        address = self.manager().get_authorization_url(state)
        reply = requests.get(address, allow_redirects=False, timeout=10)
        return reply.headers["Location"]

    def log_in(self) -> str:
        """Log in and store the token; returns it."""
        return self.manager().get_access_token_from_code(self.consent())

    def set(self, **keys: str) -> None:
        """Put keys into the `.env`, as an editor would: the last line counts."""
        with self.env_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in keys.items())


@contextmanager
def running_house(
    folder: Path, now: str = "2026-11-20 08:00", refresh: RefreshGrant = RefreshGrant.OFF, **rules
) -> Iterator[House]:
    """Run a simulated broker and give a house whose `.env` points to it."""
    clock = HandClock(ist(now))
    broker = SimulatedUpstox(clock, refresh=refresh, **rules)
    with SimulatorServer(broker) as server:
        env_file = folder / ".env"
        env_file.write_text(
            f"UPSTOX_API_URL={server.url}\nUPSTOX_CLIENT_ID=sim-client\n"
            "UPSTOX_CLIENT_SECRET=sim-secret\naccess_token=\n",
            encoding="utf-8",
        )
        yield House(clock, broker, server.url, env_file)

"""What tests of the approval on the phone share: a day of ticks, and what Upstox delivers."""

from dataclasses import replace

from support.hostile import jwt
from support.house import ist

from broker_tokens.env_text import EnvText
from broker_tokens.renewals.phone_approval import Delivery
from broker_tokens.secrets import Secret

KEY = "k" * 43
ADDRESS = f"https://trader.example.com/notifier/{KEY}"
CUT = ist("2026-11-21 03:30")


class Crash(BaseException):
    """The process dies here."""


def fails(error):
    """Return what a broker does that answers with an error."""

    def answer():
        raise error

    return answer


def asked(broker):
    """Return how many requests reached the broker."""
    return broker.asked.count("approval")


def of_kind(house, kind):
    """Return the events of one kind."""
    return [event for event in house.events if isinstance(event, kind)]


def day(house, broker, until="2026-11-20 16:00", **options):
    """Tick each minute, each time as a process just started."""
    while house.clock.now < ist(until):
        broker.service(house, is_listening=True, **options).tick()
        house.clock.advance(minutes=1)


def delivery(token=None, issued="2026-11-20 08:05", **changes):
    """Return what Upstox delivers for SIM001."""
    issued_at = ist(issued)
    claims = {"sub": "SIM001", "iat": issued_at.timestamp(), "exp": CUT.timestamp()}
    made = Delivery(Secret(token or jwt(**claims)), "sim-client", "SIM001", issued_at, CUT)
    return replace(made, **changes)


def values(house):
    """Return what `.env` says now."""
    return EnvText(house.env_file.read_bytes()).values

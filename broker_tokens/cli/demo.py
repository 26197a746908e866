"""`upstox-token demo`: the real service and library, two trading days on the simulated broker.

Only the clock and the broker are simulated: every minute the service ticks, and in market hours a
strategy asks for the token and the broker says whether it is alive.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Signal

import requests

from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.cli.demo_strategy import Strategy
from broker_tokens.cli.output import answer
from broker_tokens.clock import IST, format_ist
from broker_tokens.errors import EXIT_DEFECT, EXIT_OK
from broker_tokens.listener import listening
from broker_tokens.loop import Loop
from broker_tokens.model import (
    ApprovalAsked,
    Event,
    PersonNeeded,
    RenewalFailed,
    Stage,
    TokenStored,
    Way,
)
from broker_tokens.place import Place
from broker_tokens.renewals.phone_approval import NOTIFIER_PATH
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import RefreshGrant, SimulatedUpstox
from broker_tokens.simulator.server import SimulatorServer
from upstox_token_manager import UpstoxTokenManager

_FIRST_LOGIN = datetime(2026, 11, 18, 20, 10, tzinfo=IST)  # a Wednesday evening
_END = datetime(2026, 11, 20, 18, 0, tzinfo=IST)
_MINUTE = timedelta(minutes=1)

_OPENS, _CLOSES = (9, 0), (15, 30)

# The person of the second story: taps Approve on Thursday; on Friday the phone lies at home, and
# the link of the last notice is opened on another device, after the alarm.
_APPROVAL = datetime(2026, 11, 19, 8, 7, tzinfo=IST)
_LINK_OPENED = datetime(2026, 11, 20, 9, 12, tzinfo=IST)

# What comes in through the listener is stored by a thread of its own, in no time.
_ARRIVAL_SECONDS = 10

_WAYS = {
    Way.REFRESH_GRANT: "service: renewed silently, with the refresh token",
    Way.BROWSER_LOGIN: "person:  logged in",
    Way.PHONE_APPROVAL: "service: the approved token has come, and Upstox takes it",
}


def run() -> int:
    """Tell both stories; returns 0 if no strategy ever met a dead token."""
    started = time.monotonic()
    logging.getLogger("broker_tokens").addHandler(logging.NullHandler())
    logging.getLogger("broker_tokens").propagate = False
    with_grant = _tell("WITH the refresh grant", RefreshGrant.ROTATING, has_person=False)
    without = _tell("WITHOUT it, as Upstox documents", RefreshGrant.OFF, has_person=True)
    seconds = time.monotonic() - started
    answer(f"\nTwo stories of two trading days each, told in {seconds:.0f} s.")
    answer(f"  with the refresh grant:    {with_grant.summary()}")
    answer(f"  without the refresh grant: {without.summary()}")
    answer(
        "\nUpstox documents no refresh grant, so expect the second story: one tap or login by you"
        "\non each trading day, between 03:30 and 09:00 IST. Next: the quick start in README.md."
    )
    is_good = not (with_grant.uncovered or with_grant.dead or without.dead)
    return EXIT_OK if is_good else EXIT_DEFECT


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class _Story:
    """One `.env`, one simulated broker, and everyone who uses them."""

    def __init__(self, folder: Path, refresh: RefreshGrant, *, has_person: bool) -> None:
        self._clock = _Clock(_FIRST_LOGIN)
        self._has_person = has_person
        self._refresh = refresh
        self._link = ""
        self._stored = Signal()
        self._announcer = Announcer([self._tell])
        self.env_file = folder / ".env"
        self.env_file.write_text(_env_text(), encoding="utf-8")

    def play(self) -> Strategy:
        """Live through the two days; returns the strategy with what it saw."""
        with self._listener() as place, self._broker(place) as broker:
            manager = UpstoxTokenManager(self.env_file, environ={}, clock=self._clock)
            strategy = Strategy(manager, broker)
            self._log_in(manager.get_authorization_url("demo"), manager)
            self._say("the service starts")
            service = build_service(
                str(self.env_file),
                environ={},
                clock=self._clock,
                announcer=self._announcer,
                is_listening=True,
            )
            Loop(service, self._clock, self._waiter(broker, strategy), self._is_over).run()
        return strategy

    def _listener(self) -> AbstractContextManager[Place]:
        return listening(
            str(self.env_file),
            Place("127.0.0.1", 0),
            self._announcer,
            lambda: None,
            environ={},
            clock=self._clock,
        )

    @contextmanager
    def _broker(self, place: Place) -> Iterator[SimulatedUpstox]:
        """Run a broker that knows the listener's addresses, and lead the `.env` to it."""
        redirect_uri = f"http://{place}/callback"
        broker = SimulatedUpstox(self._clock, refresh=self._refresh, redirect_uri=redirect_uri)
        with SimulatorServer(broker) as server:
            text = self.env_file.read_text(encoding="utf-8")
            secret = text.partition("UPSTOX_NOTIFIER_SECRET=")[2].split()[0]
            broker.notifier_url = f"http://{place}{NOTIFIER_PATH}{secret}"
            addresses = f"UPSTOX_API_URL={server.url}\nUPSTOX_REDIRECT_URI={redirect_uri}\n"
            self.env_file.write_text(addresses + text, encoding="utf-8")
            yield broker

    def _waiter(self, broker: SimulatedUpstox, strategy: Strategy) -> Callable[[timedelta], None]:
        """Return the loop's wait: time passes, and the others do what their minute brings."""

        def wait(length: timedelta) -> None:
            before = self._clock.now
            self._clock.now = before + length
            minute = self._clock.now.replace(second=0, microsecond=0)
            if minute <= before:
                return
            if self._has_person:
                self._act(minute, broker)
            if _is_market_time(minute):
                strategy.look(minute)

        return wait

    def _act(self, minute: datetime, broker: SimulatedUpstox) -> None:
        """Do what the person does at this minute, and wait until the listener has stored it."""
        self._stored.clear()
        if minute == _APPROVAL:
            self._say("person:  taps Approve on the phone")
            broker.approve()
            self._stored.wait(_ARRIVAL_SECONDS)
        elif minute == _LINK_OPENED:
            self._say("person:  opens the notice's link on another device")
            requests.get(self._link, timeout=_ARRIVAL_SECONDS)
            self._stored.wait(_ARRIVAL_SECONDS)

    def _is_over(self) -> bool:
        return self._clock.now >= _END

    def _log_in(self, address: str, manager: UpstoxTokenManager) -> None:
        """Do what a person does: open the address, consent, hand over the redirect address."""
        reply = requests.get(address, allow_redirects=False, timeout=_ARRIVAL_SECONDS)
        manager.get_access_token_from_code(reply.headers["Location"])
        self._say(f"{_WAYS[Way.BROWSER_LOGIN]} for the first time")

    def _tell(self, event: Event) -> None:
        match event:
            case TokenStored():
                self._say(f"{_WAYS[event.way]}; lives until {format_ist(event.expires_at)}")
                self._stored.set()
            case ApprovalAsked():
                self._link = event.login_url
                self._say("service: asks for approval on the phone, and sends a login link")
            case PersonNeeded():
                self._link = event.login_url
                is_alarm = event.stage is Stage.ALARM
                words = "ALARM, the session is open without a token" if is_alarm else "reminds"
                self._say(f"service: {words}")
            case RenewalFailed():
                self._say(f"service: {event.sentence}")

    def _say(self, words: str) -> None:
        answer(f"  {self._clock.now:%a %d %b %H:%M}  {words}")


def _tell(title: str, refresh: RefreshGrant, *, has_person: bool) -> Strategy:
    answer(f"\n{title}\n{'=' * len(title)}")
    with tempfile.TemporaryDirectory() as folder:
        story = _Story(Path(folder), refresh, has_person=has_person)
        strategy = story.play()
        answer("\nWhat a strategy saw when it asked for the token:")
        answer(strategy.table())
        answer(f"  {strategy.summary()}")
        answer("\nThe .env at the end (secrets masked):")
        answer(_masked(story.env_file.read_text(encoding="utf-8")))
    return strategy


def _is_market_time(now: datetime) -> bool:
    return _OPENS <= (now.hour, now.minute) < _CLOSES


def _env_text() -> str:
    return (
        "# made for the demo\nUPSTOX_CLIENT_ID=sim-client\nUPSTOX_CLIENT_SECRET=sim-secret\n"
        "access_token=\n"
    )


def _masked(text: str) -> str:
    """Return a `.env` text with every secret replaced by its fingerprint."""
    lines = []
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if value and ("token" in key.lower() or "secret" in key.lower()) and "EXPIRES" not in key:
            value = f"<secret, fingerprint {Secret(value).fingerprint}>"
        lines.append(f"  {key}{equals}{value}")
    return "\n".join(lines)

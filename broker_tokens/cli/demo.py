"""`upstox-token demo`: the real service and library, two trading days on the simulated broker.

Only the clock and the broker are simulated: every minute the service ticks, and in market hours a
strategy asks for the token and the broker says whether it is alive.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import requests

from broker_tokens.app import build_service
from broker_tokens.cli.output import answer
from broker_tokens.clock import IST, format_ist
from broker_tokens.errors import EXIT_DEFECT, EXIT_OK, TokenError
from broker_tokens.loop import Loop
from broker_tokens.model import Event, PersonNeeded, RenewalFailed, Stage, TokenStored, Way
from broker_tokens.secrets import Secret
from broker_tokens.simulator.broker import RefreshGrant, SimulatedUpstox
from broker_tokens.simulator.server import SimulatorServer
from upstox_token_manager import UpstoxTokenManager

_FIRST_LOGIN = datetime(2026, 11, 18, 20, 10, tzinfo=IST)  # a Wednesday evening
_END = datetime(2026, 11, 20, 18, 0, tzinfo=IST)
_MINUTE = timedelta(minutes=1)

_OPENS, _CLOSES = (9, 0), (15, 30)

# The person of the second story: quick on Thursday; on Friday not before the alarm.
_LOGINS = {
    datetime(2026, 11, 19, 8, 7, tzinfo=IST),
    datetime(2026, 11, 20, 9, 12, tzinfo=IST),
}

_WAYS = {
    Way.REFRESH_GRANT: "service: renewed silently, with the refresh token",
    Way.BROWSER_LOGIN: "person:  logged in",
}


def run() -> int:
    """Tell both stories; returns 0 if no strategy ever met a dead token."""
    started = time.monotonic()
    logging.getLogger("broker_tokens").addHandler(logging.NullHandler())
    logging.getLogger("broker_tokens").propagate = False
    with_grant = _tell("WITH the refresh grant", RefreshGrant.ROTATING, logins=set())
    without = _tell("WITHOUT it, as Upstox documents", RefreshGrant.OFF, logins=_LOGINS)
    seconds = time.monotonic() - started
    answer(f"\nTwo stories of two trading days each, told in {seconds:.0f} s.")
    answer(f"  with the refresh grant:    {with_grant.summary()}")
    answer(f"  without the refresh grant: {without.summary()}")
    answer(
        "\nUpstox documents no refresh grant, so expect the second story: one login by you on each"
        "\ntrading day, between 03:30 and 09:00 IST. Next: the quick start in README.md."
    )
    is_good = not (with_grant.uncovered or with_grant.dead or without.dead)
    return EXIT_OK if is_good else EXIT_DEFECT


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class _Strategy:
    """Asks for the token at every market minute, as a trading program would."""

    def __init__(self, manager: UpstoxTokenManager, broker: SimulatedUpstox) -> None:
        self._manager = manager
        self._broker = broker
        self._hours: dict[str, list[str]] = {}
        self.minutes = self.uncovered = self.dead = 0

    def look(self, now: datetime) -> None:
        """Ask once, and let the broker judge what came."""
        self.minutes += 1
        try:
            token = self._manager.get_current_token()
        except TokenError:
            self.uncovered += 1
            verdict = "none"
        else:
            is_live = self._broker.is_live(token)
            self.dead += not is_live
            verdict = "live" if is_live else "DEAD"
        if now.minute == 0:
            day = self._hours.setdefault(f"{now:%a %d %b}", [])
            day.append(f"{now:%H:%M} {verdict}")

    def table(self) -> str:
        """Return what it saw at each full market hour."""
        return "\n".join(f"  {day}  " + "  ".join(row) for day, row in self._hours.items())

    def summary(self) -> str:
        """Return its two days as one line."""
        return (
            f"{self.uncovered} of {self.minutes} market minutes uncovered,"
            f" dead tokens handed out: {self.dead}"
        )


class _Story:
    """One `.env`, one simulated broker, and everyone who uses them."""

    def __init__(self, folder: Path, refresh: RefreshGrant, logins: set[datetime]) -> None:
        self._clock = _Clock(_FIRST_LOGIN)
        self._logins = logins
        self.broker = SimulatedUpstox(self._clock, refresh=refresh)
        self.env_file = folder / ".env"

    def play(self, url: str) -> _Strategy:
        """Live through the two days; returns the strategy with what it saw."""
        self.env_file.write_text(_env_text(url), encoding="utf-8")
        manager = UpstoxTokenManager(self.env_file, environ={}, clock=self._clock)
        strategy = _Strategy(manager, self.broker)
        self._log_in(manager)
        self._say(f"{_WAYS[Way.BROWSER_LOGIN]} for the first time, the service starts")
        service = build_service(
            str(self.env_file), environ={}, clock=self._clock, observers=[self._tell]
        )
        Loop(service, self._clock, self._waiter(manager, strategy), self._is_over).run()
        return strategy

    def _waiter(
        self, manager: UpstoxTokenManager, strategy: _Strategy
    ) -> Callable[[timedelta], None]:
        """Return the loop's wait: time passes, and the others do what their minute brings."""

        def wait(length: timedelta) -> None:
            before = self._clock.now
            self._clock.now = before + length
            minute = self._clock.now.replace(second=0, microsecond=0)
            if minute <= before:
                return
            if minute in self._logins:
                self._log_in(manager)
            if _is_market_time(minute):
                strategy.look(minute)

        return wait

    def _is_over(self) -> bool:
        return self._clock.now >= _END

    def _log_in(self, manager: UpstoxTokenManager) -> None:
        """Do what a person does: open the address, consent, hand over the redirect address."""
        reply = requests.get(
            manager.get_authorization_url("demo"), allow_redirects=False, timeout=10
        )
        manager.get_access_token_from_code(reply.headers["Location"])

    def _tell(self, event: Event) -> None:
        match event:
            case TokenStored():
                self._say(f"{_WAYS[event.way]}; lives until {format_ist(event.expires_at)}")
            case PersonNeeded(stage=Stage.ALARM):
                self._say("service: ALARM, the session is open and there is no token")
            case PersonNeeded():
                word = "asks for" if event.stage is Stage.ASK else "reminds of"
                self._say(f"service: {word} a login for today's session")
            case RenewalFailed():
                self._say(f"service: {event.sentence}")

    def _say(self, words: str) -> None:
        answer(f"  {self._clock.now:%a %d %b %H:%M}  {words}")


def _tell(title: str, refresh: RefreshGrant, logins: set[datetime]) -> _Strategy:
    answer(f"\n{title}\n{'=' * len(title)}")
    with tempfile.TemporaryDirectory() as folder:
        story = _Story(Path(folder), refresh, logins)
        with SimulatorServer(story.broker) as server:
            strategy = story.play(server.url)
        answer("\nWhat a strategy saw when it asked for the token:")
        answer(strategy.table())
        answer(f"  {strategy.summary()}")
        answer("\nThe .env at the end (secrets masked):")
        answer(_masked(story.env_file.read_text(encoding="utf-8")))
    return strategy


def _is_market_time(now: datetime) -> bool:
    return _OPENS <= (now.hour, now.minute) < _CLOSES


def _env_text(url: str) -> str:
    return (
        f"# made for the demo\nUPSTOX_API_URL={url}\nUPSTOX_CLIENT_ID=sim-client\n"
        "UPSTOX_CLIENT_SECRET=sim-secret\naccess_token=\n"
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

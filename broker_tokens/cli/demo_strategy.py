"""The demo's strategy: asks for the token at every market minute, and has the broker judge it."""

from datetime import datetime

from broker_tokens.errors import TokenError
from broker_tokens.simulator.broker import SimulatedUpstox
from upstox_token_manager import UpstoxTokenManager


class Strategy:
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

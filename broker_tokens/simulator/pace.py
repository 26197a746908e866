"""Clocks for the simulator: one that starts when told and runs as fast as told."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta


class AcceleratedClock:
    """A clock that reads `start` now and moves `speed` seconds in each real second."""

    def __init__(
        self,
        start: datetime,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._speed = speed
        self._monotonic = monotonic
        self._origin = monotonic()

    def __call__(self) -> datetime:
        """Return the simulated instant, in the zone of `start`."""
        passed = self._monotonic() - self._origin
        return self._start + timedelta(seconds=passed * self._speed)

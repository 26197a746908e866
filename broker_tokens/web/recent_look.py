"""A look at the files that is fresh enough for a first sieve: a flood must not have them read."""

from collections.abc import Callable
from datetime import timedelta

from broker_tokens.clock import Clock
from broker_tokens.look import Look

_LIFE = timedelta(seconds=1)


class RecentLook:
    """Looks at most once a second; safe in any thread. What is decided by it is checked again."""

    def __init__(self, look: Callable[[], Look], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._last: Look | None = None

    def __call__(self) -> Look:
        """Return a look of the last second; raises what a look raises."""
        last = self._last
        if last is None or not timedelta(0) <= self._clock() - last.now < _LIFE:
            last = self._last = self._look()
        return last

    def forget(self) -> None:
        """Look anew the next time: something has changed."""
        self._last = None

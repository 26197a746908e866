"""Counts what is refused, and says so rarely: a flood must not fill the log."""

import logging
import threading
from collections import Counter
from datetime import datetime, timedelta

from broker_tokens.clock import Clock, format_ist

# An attack is news once; the rest is a sum.
PACE = timedelta(hours=1)

# Reasons are our own few words; this only guards against one made of a stranger's text.
_MOST_REASONS = 32


class Tally:
    """Logs the first refusal at once, and then at most one line in `pace`; safe in any thread."""

    def __init__(self, clock: Clock, log: logging.Logger, pace: timedelta = PACE) -> None:
        self._clock = clock
        self._log = log
        self._pace = pace
        self._guard = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._since: datetime | None = None

    def count(self, reason: str) -> None:
        """Count one refusal; the line that is due, if any, is logged."""
        with self._guard:
            for counts in (self._counts, self._totals):
                if len(counts) < _MOST_REASONS or reason in counts:
                    counts[reason] += 1
            self._log_if_due()

    def totals(self) -> dict[str, int]:
        """Return how many were refused since the start, by reason."""
        with self._guard:
            return dict(self._totals)

    def flush(self) -> None:
        """Log what has been counted and not said yet, at the end."""
        with self._guard:
            if self._counts:
                self._log_all(self._clock())

    def _log_if_due(self) -> None:
        now = self._clock()
        if self._since is not None and timedelta(0) <= now - self._since < self._pace:
            return
        self._log_all(now)

    def _log_all(self, now: datetime) -> None:
        parts = [f"{number:,} {reason}" for reason, number in self._counts.most_common()]
        since = f" since {format_ist(self._since)}" if self._since else ""
        total = self._counts.total()
        requests = "request" if total == 1 else "requests"
        self._log.warning("Refused %s %s%s: %s.", f"{total:,}", requests, since, ", ".join(parts))
        self._counts.clear()
        self._since = now

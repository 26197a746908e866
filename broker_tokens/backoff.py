"""How long to wait after a failure before the broker is asked again."""

from datetime import timedelta

FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=10)

# While the session is open, or opens before the longest wait is over, each minute counts.
LAST_RETRY_IN_SESSION = timedelta(minutes=1)

# A broker's Retry-After is honoured up to this. A saved retry that lies further ahead was saved
# under a clock that has since been set back, and is void.
LONGEST_RETRY_AFTER = timedelta(hours=1)


def retry_delay(failures: int, jitter: float, longest: timedelta = LAST_RETRY) -> timedelta:
    """Return how long to wait after so many failures in a row; `jitter` is from [0, 1).

    Doubles from 5 s to `longest`; jitter takes up to a quarter off, so that many machines do not
    knock together after an outage.
    """
    full = min(FIRST_RETRY * (1 << min(max(failures, 1) - 1, 10)), longest)
    return max(FIRST_RETRY, full * (1 - jitter / 4))

"""The service's loop: a tick at once, then whenever something is due, at least once a minute.

The wake is capped because waits follow the monotonic clock, which stands still while a laptop
sleeps and knows nothing of a stepped wall clock; the plan is recomputed at each wake. `schedule`
beats the time; what is due, and when, is the policy's question.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import schedule

from broker_tokens.clock import Clock
from broker_tokens.errors import TokenError
from broker_tokens.forecast import next_step, standing
from broker_tokens.look import Look
from broker_tokens.service import Outcome, TokenService

log = logging.getLogger(__name__)

LONGEST_WAIT = timedelta(seconds=60)
SHORTEST_WAIT = timedelta(seconds=1)

# A tick that could not even look (no `.env`, a wrong setting) is not repeated in a hurry.
_WAIT_AFTER_ERROR = timedelta(seconds=30)


class Loop:
    """Runs a service until `is_stopping` says so; `wait` sleeps, and ends early when woken."""

    def __init__(
        self,
        service: TokenService,
        clock: Clock,
        wait: Callable[[timedelta], object],
        is_stopping: Callable[[], bool],
        look_after: Callable[[Look], None] = lambda _: None,
        before_beat: Callable[[], None] = lambda: None,
        after_beat: Callable[[str], None] = lambda _: None,
        longest_wait: timedelta = LONGEST_WAIT,
    ) -> None:
        """`look_after` is shown what each tick came to.

        `before_beat` is called as each begins, `after_beat` is told how things stand at its end;
        `longest_wait` is the most that lies between two.
        """
        self._service = service
        self._clock = clock
        self._wait = wait
        self._is_stopping = is_stopping
        self._look_after = look_after
        self._before_beat = before_beat
        self._after_beat = after_beat
        self._longest_wait = longest_wait
        self._standing = ""
        self._next_due: datetime | None = None
        self._last_news = ""
        # Its own scheduler: the library's global one belongs to the user's code.
        seconds = int(LONGEST_WAIT.total_seconds())
        self._heartbeat = schedule.Scheduler().every(seconds).seconds.do(self._guarded_tick)

    def run(self) -> None:
        """Beat until stopped."""
        while not self._is_stopping():
            # Every wake is a beat: `schedule` plans on naive wall time, which may be stepped. Not
            # `run_all`, which would sleep after it, for no time, and cost another wake-up.
            self._heartbeat.run()
            self._after_beat(self._standing)
            if not self._is_stopping():
                self._wait(self._until_next())

    def _until_next(self) -> timedelta:
        length = _WAIT_AFTER_ERROR
        if self._next_due is not None:
            length = max(self._next_due - self._clock(), SHORTEST_WAIT)
        return min(length, self._longest_wait)

    def _guarded_tick(self) -> None:
        """Tick; nothing that goes wrong in one tick may keep the next from coming."""
        self._next_due = None
        self._before_beat()
        try:
            outcome = self._service.tick()
            self._next_due = outcome.next_due
            self._standing = _standing(outcome)
            self._look_after(outcome.look)
            self._say_next(outcome)
        except TokenError as error:
            self._standing = str(error)
            self._say_once(logging.ERROR, str(error), str(error))
        except Exception as error:
            self._standing = "A defect; the log has it in full. The service goes on."
            if self._say_once(logging.ERROR, repr(error), "A defect; the service goes on."):
                log.exception("The defect in full:")

    def _say_next(self, outcome: Outcome) -> None:
        step = next_step(outcome.look)
        # News is another step or another hour for it, not that it has come a minute closer.
        self._say_once(logging.INFO, f"{step.what} {step.at}", step.sentence(outcome.look.now))

    def _say_once(self, level: int, news: str, words: str) -> bool:
        """Log `words` only when `news` has changed, and return whether it has.

        A tick a minute must not fill a day's log.
        """
        if news == self._last_news:
            return False
        self._last_news = news
        log.log(level, "%s", words)
        return True


def _standing(outcome: Outcome) -> str:
    """Say how things stand, with what kept the tick from its work, if the state does not say it."""
    words, error = standing(outcome.look), outcome.error
    return words if error is None or error.cause in words else f"{words} {error.cause}"

"""Side work, one thing after the other, in a thread of its own."""

import logging
import queue
import threading
from collections.abc import Callable
from datetime import timedelta

from broker_tokens.errors import TokenError

log = logging.getLogger(__name__)

Job = Callable[[], None]

# A day has a dozen at most; beyond this something is wrong, and dropping is better than piling up.
_MOST_WAITING = 50


class Courier:
    """Takes jobs at once and does them later; a job that fails or hangs disturbs nobody else."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Job] = queue.Queue(_MOST_WAITING)
        self._news = threading.Condition()
        self._unfinished = 0
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> bool:
        """Have `job` done, and return whether it will be; never waits.

        With too many waiting, it is dropped and logged.
        """
        with self._news:
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                log.warning("Too much is waiting to be told or run; one thing is dropped.")
                return False
            self._unfinished += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
                self._thread.start()
        return True

    def drain(self, limit: timedelta) -> bool:
        """Wait until all is done, at most for `limit`; return whether it is."""
        with self._news:
            return self._news.wait_for(lambda: not self._unfinished, limit.total_seconds())

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except TokenError as error:  # an `.env` that is just being edited, a full disk
                log.warning("A notice or command could not be seen through: %s", error)
            except Exception:  # a job is somebody else's code
                log.exception("A notice or command could not be seen through.")
            with self._news:
                self._unfinished -= 1
                self._news.notify_all()

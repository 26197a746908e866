"""The notifier's address: takes a delivered token in, answers at once, and has it judged after.

The broker signs nothing, so a stranger who learns the address can post here. What fails the checks
that cost nothing is dropped and counted; the rest waits on disk until the broker has judged it.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

from broker_tokens.backoff import LAST_RETRY_IN_SESSION, retry_delay
from broker_tokens.errors import TemporaryFailure, TokenError, TokenRejected
from broker_tokens.inbox import Inbox
from broker_tokens.look import Look
from broker_tokens.renewals.phone_approval import Delivery, check, read_delivery
from broker_tokens.waker import Stopping
from broker_tokens.web.http_values import WebReply, WebRequest

log = logging.getLogger(__name__)

# Two refused tokens are judged no faster than this: the broker's limits are ours to keep, too.
_PACE_AFTER_REFUSAL = timedelta(seconds=1)

# Forged tokens that need no second look; a fingerprint is 8 characters.
_REMEMBERED = 1_000

_OK = b'{"status":"ok"}'


class Receiver:
    """Takes deliveries in, in any thread, and judges them in one of its own."""

    def __init__(
        self,
        look: Callable[[], Look],
        accept: Callable[[Delivery], object],
        inbox: Inbox,
        on_refused: Callable[[str], None],
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        """`look` is called for each delivery; `accept` asks the broker and stores.

        `on_refused` counts; `on_accepted` wakes.
        """
        self._look = look
        self._accept = accept
        self._inbox = inbox
        self._on_refused = on_refused
        self._on_accepted = on_accepted
        self._forged: OrderedDict[str, None] = OrderedDict()
        self._failures = 0
        self._news = threading.Condition()
        self._has_news = bool(inbox.waiting)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Judge in a thread, what an earlier process left included."""
        self._thread.start()

    def close(self, limit: timedelta) -> None:
        """Stop judging; what waits stays on disk. Waits for a judgement under way."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(limit.total_seconds())

    def receive(self, request: WebRequest) -> WebReply:
        """Answer a POST to the notifier's address."""
        try:
            delivery = read_delivery(request.body)
        except ValueError as error:
            self._on_refused(f"malformed ({error})")
            return WebReply.json(400, b'{"status":"error"}')
        if self._is_worth_judging(delivery) and not self._keep(delivery):
            return WebReply.json(503, b'{"status":"error"}')
        return WebReply.json(200, _OK)

    def judge(self) -> timedelta | None:
        """Have the broker judge what waits; return when to come again if some could not be."""
        again: timedelta | None = None
        for delivery in self._in_turn():
            if self._is_closed:
                break
            try:
                self._accept(delivery)
            except TokenRejected as error:
                self._forget(delivery)
                self._on_refused("refused by the broker, or outdated")
                log.debug("%s", error)
                again = _PACE_AFTER_REFUSAL
                break
            except TokenError as error:
                again = self._later(error)
                break
            self._failures = 0
            self._inbox.remove(delivery)
            self._on_accepted()
        return again if self._inbox.waiting else None

    def _in_turn(self) -> tuple[Delivery, ...]:
        """Return what waits, after each failure beginning with another: none blocks the rest."""
        waiting = self._inbox.waiting
        first = self._failures % len(waiting) if waiting else 0
        return waiting[first:] + waiting[:first]

    def _is_worth_judging(self, delivery: Delivery) -> bool:
        if delivery.token.fingerprint in self._forged:
            self._on_refused("replayed")
            return False
        try:
            check(delivery, self._look())
        except TokenRejected:
            self._on_refused("forged, foreign or outdated")
            return False
        except TokenError as error:
            log.warning("A delivered token waits, because of this: %s", error)
        return True

    def _keep(self, delivery: Delivery) -> bool:
        try:
            is_kept = self._inbox.add(delivery)
        except TokenError as error:
            log.error("A delivered token cannot be kept: %s", error)
            return False
        if not is_kept:
            self._on_refused("too many at once")
            return False
        with self._news:
            self._has_news = True
            self._news.notify_all()
        return True

    def _forget(self, delivery: Delivery) -> None:
        self._inbox.remove(delivery)
        self._forged[delivery.token.fingerprint] = None
        while len(self._forged) > _REMEMBERED:
            self._forged.popitem(last=False)

    def _later(self, error: TokenError) -> timedelta:
        self._failures += 1
        delay = retry_delay(self._failures, 0.0, LAST_RETRY_IN_SESSION)
        if isinstance(error, TemporaryFailure) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, LAST_RETRY_IN_SESSION))
        if self._failures == 1:
            log.warning("A delivered token could not be judged yet: %s", error)
        return delay

    def _run(self) -> None:
        pause: timedelta | None = None
        while True:
            with self._news:
                if not self._has_news and not self._is_closed:
                    self._news.wait(None if pause is None else pause.total_seconds())
                if self._is_closed:
                    return
                self._has_news = False
            try:
                pause = self.judge()
            except Stopping:
                return
            except TokenError as error:
                log.error("A delivered token waits, because of this: %s", error)
                pause = LAST_RETRY_IN_SESSION
            except Exception:  # nothing that is delivered may end the thread
                log.exception("A defect; delivered tokens are looked at again.")
                pause = LAST_RETRY_IN_SESSION

"""`/healthz`, `/readyz`, `/metrics`: for those who watch the service. No secret, no account.

They are answered from a look of the last second, so that asking often costs little.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from broker_tokens import __version__
from broker_tokens.attendance import LONGEST_SILENCE, Attendance
from broker_tokens.clock import Clock
from broker_tokens.errors import TokenError
from broker_tokens.forecast import next_step
from broker_tokens.look import Look
from broker_tokens.outlook import Level, outlook
from broker_tokens.web.exposition import CONTENT_TYPE, Metric, Sample, text_of
from broker_tokens.web.http_values import Route, WebReply, WebRequest

_LEVELS = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}


class Health:
    """Answers whether the loop beats, whether a live token is stored, and with all the figures."""

    def __init__(
        self,
        look: Callable[[], Look],
        last_look: Callable[[], datetime | None],
        refused: Callable[[], Mapping[str, int]],
        clock: Clock,
        *,
        pid: int,
    ) -> None:
        """`look` is called for each visitor; `last_look` is when the loop last looked itself.

        `refused` counts the requests that were refused, by reason; `pid` is the service's.
        """
        self._look = look
        self._last_look = last_look
        self._refused = refused
        self._clock = clock
        self._pid = pid

    def routes(self) -> list[Route]:
        """Return where this is answered."""
        answers = {"/healthz": self.loop, "/readyz": self.token, "/metrics": self.metrics}
        return [Route(path, "GET", each, takes_head=True) for path, each in answers.items()]

    def loop(self, request: WebRequest) -> WebReply:  # noqa: ARG002 -- a handler's signature
        """Say `ok` while the loop beats: that this thread answers proves nothing."""
        seen = self._last_look()
        if seen is None:
            return WebReply.text(503, "the service has not looked yet")
        if abs(self._clock() - seen) >= LONGEST_SILENCE:
            return WebReply.text(503, "the service does not look any more")
        return WebReply.text(200, "ok")

    def token(self, request: WebRequest) -> WebReply:  # noqa: ARG002 -- a handler's signature
        """Say `ready` while a live token is stored."""
        try:
            look = self._look()
        except TokenError:
            return WebReply.text(503, "the files cannot be read")
        if not look.situation.is_live(look.now):
            return WebReply.text(503, "no live token is stored")
        return WebReply.text(200, "ready")

    def metrics(self, request: WebRequest) -> WebReply:  # noqa: ARG002 -- a handler's signature
        """Return all figures; those of the files are missing while these cannot be read."""
        try:
            look: Look | None = self._look()
        except TokenError:
            look = None
        seen = self._last_look()
        metrics = list(self._of_process(seen, is_readable=look is not None))
        if look is not None:
            metrics += _of_token(look)
            metrics += _of_plan(look, Attendance(self._pid, "", seen))
        return WebReply(200, text_of(metrics).encode(), CONTENT_TYPE)

    def _of_process(self, seen: datetime | None, *, is_readable: bool) -> Iterator[Metric]:
        yield Metric(
            "upstox_token_build_info",
            "gauge",
            "The version of this service.",
            [Sample(1, {"version": __version__})],
        )
        yield _gauge(
            "last_look_timestamp_seconds", "When the service's loop last looked.", _epoch(seen)
        )
        yield _gauge("files_readable", "Whether the .env can be read.", int(is_readable))
        counted = sorted(self._refused().items())
        yield Metric(
            "upstox_token_refused_requests_total",
            "counter",
            "Requests to the listener that were refused, by reason.",
            [Sample(number, {"reason": reason}) for reason, number in counted],
        )


def _of_token(look: Look) -> Iterator[Metric]:
    situation, renewal = look.situation, look.state.last_renewal
    yield _gauge("live", "Whether a live token is stored.", int(situation.is_live(look.now)))
    yield _gauge(
        "expires_timestamp_seconds", "When the stored token ends.", _epoch(situation.expires_at)
    )
    came = [Sample(renewal.at.timestamp(), {"way": renewal.way.value})] if renewal else []
    yield Metric(
        "upstox_token_last_renewal_timestamp_seconds",
        "gauge",
        "When the last token came, and by which way.",
        came,
    )
    yield _gauge(
        "consecutive_failures",
        "Failed renewals since the last one that worked.",
        situation.failures,
    )


def _of_plan(look: Look, attendance: Attendance) -> Iterator[Metric]:
    session, step = look.rules.calendar.coming_session(look.now), next_step(look)
    is_covered = look.situation.covers(session)
    yield _gauge(
        "next_step_timestamp_seconds", "When the service acts next by itself.", _epoch(step.at)
    )
    yield _gauge(
        "session_opens_timestamp_seconds",
        "When the session that is open, or else the next one, opens.",
        _epoch(session.opens),
    )
    yield _gauge(
        "session_covered", "Whether the stored token lives to that session's end.", int(is_covered)
    )
    yield _gauge(
        "outlook",
        "How the next session stands that is not covered and open: 0 safe, 1 a person should look,"
        " 2 in danger.",
        _LEVELS[outlook(look, attendance).level],
    )


def _gauge(name: str, words: str, value: float | None) -> Metric:
    samples = [] if value is None else [Sample(value)]
    return Metric(f"upstox_token_{name}", "gauge", words, samples)


def _epoch(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()

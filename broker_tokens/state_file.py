"""`.env.state.json`: what a restart must not forget. Holds no secret, only fingerprints."""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from dateutil.parser import isoparse

from broker_tokens.clock import IST
from broker_tokens.durable_file import Replacement, read_bytes
from broker_tokens.errors import StoreError
from broker_tokens.model import Approval, Failure, MarketDays, Renewal, Session, State, Way
from broker_tokens.secrets import redact

FORMAT = 1

# What the clock of a machine, or a JWT, may say. Beyond, the arithmetic of the plan would overflow.
_YEARS = range(1970, 3001)

T = TypeVar("T")


def load_state(path: str) -> State:
    """Return the saved state; a missing or damaged file gives a fresh one, as it holds no token.

    Raises StoreError if the file is there and cannot be read.
    """
    try:
        content = read_bytes(path)
    except StoreError as error:
        if isinstance(error.__context__, FileNotFoundError):
            return State()
        raise
    try:
        return _from_json(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return State()


def save_state(path: str, state: State, *, owned_like: str, durable: bool) -> None:
    """Replace the saved state in one step; raises StoreError. The caller holds the lock."""
    text = json.dumps(_to_json(state), indent=1) + "\n"
    with Replacement(path, owned_like=owned_like, durable=durable) as replacement:
        replacement.commit(text.encode())


def _to_json(state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "written": {key: _text(at) for key, at in state.written.items()},
        "refused": list(state.refused),
        "spent_codes": list(state.spent_codes),
        "failures": state.failures,
        "retry_at": _text(state.retry_at),
        "told": _text(state.told),
        "last_renewal": _renewal_json(state.last_renewal),
        "last_failure": _failure_json(state.last_failure),
        "approval": _approval_json(state.approval),
        "noticed": {key: _text(at) for key, at in state.noticed.items()},
        "probed_at": _text(state.probed_at),
        "calendar": _calendar_json(state.calendar),
        "ran_for": state.ran_for,
        "command_failure": _failure_json(state.command_failure),
    }


def _from_json(saved: dict[str, Any]) -> State:
    if saved["format"] != FORMAT:
        raise ValueError(saved["format"])
    return State(
        written={key: _instant(at) for key, at in saved["written"].items()},
        refused=tuple(saved["refused"]),
        spent_codes=tuple(saved["spent_codes"]),
        failures=int(saved["failures"]),
        retry_at=_maybe(_instant, saved["retry_at"]),
        told=_maybe(_instant, saved["told"]),
        last_renewal=_maybe(_renewal, saved["last_renewal"]),
        last_failure=_maybe(_failure, saved["last_failure"]),
        approval=_maybe(_approval, saved.get("approval")),
        noticed={key: _instant(at) for key, at in saved.get("noticed", {}).items()},
        probed_at=_maybe(_instant, saved.get("probed_at")),
        calendar=_maybe(_calendar, saved.get("calendar")) or MarketDays(),
        ran_for=str(saved.get("ran_for", "")),
        command_failure=_maybe(_failure, saved.get("command_failure")),
    )


def _maybe(read: Callable[[Any], T], saved: Any) -> T | None:
    return None if saved is None else read(saved)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(IST).isoformat()


def _instant(saved: str) -> datetime:
    instant = isoparse(saved)
    if instant.tzinfo is None or instant.year not in _YEARS:
        raise ValueError(saved)
    return instant


def _words(saved: Any) -> str:
    if not isinstance(saved, str):
        raise TypeError(saved)
    return saved


def _renewal_json(renewal: Renewal | None) -> dict[str, str | None] | None:
    return None if renewal is None else {"at": _text(renewal.at), "way": renewal.way.value}


def _renewal(saved: dict[str, str]) -> Renewal:
    return Renewal(_instant(saved["at"]), Way(saved["way"]))


def _failure_json(failure: Failure | None) -> dict[str, str | None] | None:
    return None if failure is None else {"at": _text(failure.at), "what": redact(failure.what)}


def _failure(saved: dict[str, str]) -> Failure:
    return Failure(_instant(saved["at"]), _words(saved["what"]))


def _approval_json(approval: Approval | None) -> dict[str, str | int | None] | None:
    if approval is None:
        return None
    return {
        "asked_at": _text(approval.asked_at),
        "expires_at": _text(approval.expires_at),
        "refusal": redact(approval.refusal),
        "retry_at": _text(approval.retry_at),
        "tries": approval.tries,
        "answered": approval.answered,
    }


def _approval(saved: dict[str, Any]) -> Approval:
    return Approval(
        asked_at=_instant(saved["asked_at"]),
        expires_at=_maybe(_instant, saved["expires_at"]),
        refusal=_words(saved["refusal"]),
        retry_at=_maybe(_instant, saved["retry_at"]),
        tries=int(saved["tries"]),
        answered=_words(saved["answered"]),
    )


def _calendar_json(calendar: MarketDays) -> dict[str, Any]:
    return {
        "asked_at": _text(calendar.asked_at),
        "learned_at": _text(calendar.learned_at),
        "exchange": calendar.exchange,
        "days": {day.isoformat(): _session_json(each) for day, each in calendar.days.items()},
    }


def _calendar(saved: dict[str, Any]) -> MarketDays:
    days: Mapping[str, Any] = saved["days"]
    return MarketDays(
        days={date.fromisoformat(day): _maybe(_session, each) for day, each in days.items()},
        asked_at=_maybe(_instant, saved["asked_at"]),
        learned_at=_maybe(_instant, saved["learned_at"]),
        exchange=saved["exchange"],
    )


def _session_json(session: Session | None) -> list[str | None] | None:
    return None if session is None else [_text(session.opens), _text(session.closes)]


def _session(saved: list[str]) -> Session:
    opens, closes = map(_instant, saved)
    if not opens < closes < opens + timedelta(days=1):
        raise ValueError(saved)
    return Session(opens, closes)

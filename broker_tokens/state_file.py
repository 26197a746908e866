"""`.env.state.json`: what a restart must not forget. Holds no secret, only fingerprints."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from dateutil.parser import isoparse

from broker_tokens.clock import IST
from broker_tokens.durable_file import Replacement, read_bytes
from broker_tokens.errors import StoreError
from broker_tokens.model import Failure, Renewal, State, Way
from broker_tokens.secrets import redact

FORMAT = 1

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
    )


def _maybe(read: Callable[[Any], T], saved: Any) -> T | None:
    return None if saved is None else read(saved)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(IST).isoformat()


def _instant(saved: str) -> datetime:
    instant = isoparse(saved)
    if instant.tzinfo is None:
        raise ValueError(saved)
    return instant


def _renewal_json(renewal: Renewal | None) -> dict[str, str | None] | None:
    return None if renewal is None else {"at": _text(renewal.at), "way": renewal.way.value}


def _renewal(saved: dict[str, str]) -> Renewal:
    return Renewal(_instant(saved["at"]), Way(saved["way"]))


def _failure_json(failure: Failure | None) -> dict[str, str | None] | None:
    return None if failure is None else {"at": _text(failure.at), "what": redact(failure.what)}


def _failure(saved: dict[str, str]) -> Failure:
    return Failure(_instant(saved["at"]), saved["what"])

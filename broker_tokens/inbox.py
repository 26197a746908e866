"""`.env.inbox`: tokens that came to the notifier and are not judged yet.

On disk before the broker gets its answer, because it sends a token once and documents no second
try. A secret file, 0600, and gone as soon as nothing waits in it.
"""

import json
import os
import threading
from contextlib import suppress
from datetime import datetime
from typing import Any

from broker_tokens.durable_file import Replacement, read_bytes, recover, remove
from broker_tokens.errors import StoreError
from broker_tokens.renewals.phone_approval import Delivery
from broker_tokens.secrets import Secret

# One a day is what comes; more than this waiting is a flood of forged ones.
_CAPACITY = 16


def is_any_waiting(env_path: str) -> bool:
    """Whether a listener has left deliveries behind that nobody has judged."""
    return os.path.lexists(_path(env_path))


def _path(env_path: str) -> str:
    return os.path.realpath(env_path) + ".inbox"


class Inbox:
    """The waiting deliveries of one `.env`; safe to use from several threads of the one service."""

    def __init__(self, env_path: str) -> None:
        """Read what an earlier process left; raises StoreError if the folder is not writable."""
        self._env_path = os.path.realpath(env_path)
        self.path = _path(env_path)
        self._guard = threading.Lock()
        recover(self.path)
        self._waiting = self._load()

    @property
    def waiting(self) -> tuple[Delivery, ...]:
        """Return what is not judged yet, the oldest first."""
        with self._guard:
            return tuple(self._waiting)

    def add(self, delivery: Delivery) -> bool:
        """Keep a delivery until it is removed; False if there is no room. Raises StoreError.

        One that waits already is kept once.
        """
        with self._guard:
            if delivery in self._waiting:
                return True
            if len(self._waiting) >= _CAPACITY:
                return False
            self._save([*self._waiting, delivery])
        return True

    def remove(self, delivery: Delivery) -> None:
        """Forget a delivery that has been judged; raises StoreError."""
        with self._guard:
            self._save([each for each in self._waiting if each != delivery])

    def _save(self, deliveries: list[Delivery]) -> None:
        if deliveries:
            content = json.dumps([_to_json(each) for each in deliveries]).encode()
            with Replacement(self.path, owned_like=self._env_path) as replacement:
                replacement.commit(content)
        else:
            with suppress(OSError):
                remove(self.path)
        self._waiting = deliveries

    def _load(self) -> list[Delivery]:
        if not os.path.lexists(self.path):
            return []
        try:
            return [_from_json(saved) for saved in json.loads(read_bytes(self.path))]
        except (ValueError, TypeError, KeyError, StoreError):
            return []


def _to_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "token": delivery.token.reveal(),
        "client_id": delivery.client_id,
        "user_id": delivery.user_id,
        "issued_at": delivery.issued_at.isoformat(),
        "expires_at": delivery.expires_at.isoformat(),
    }


def _from_json(saved: dict[str, Any]) -> Delivery:
    return Delivery(
        token=Secret(saved["token"]),
        client_id=saved["client_id"],
        user_id=saved["user_id"],
        issued_at=datetime.fromisoformat(saved["issued_at"]),
        expires_at=datetime.fromisoformat(saved["expires_at"]),
    )

"""Access Token Request v3: a request, a person with a phone, and the webhook that follows.

Upstox documents no status, no signature, no second delivery; a rejected request is silent.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from broker_tokens.clock import Clock
from broker_tokens.simulator.ledger import Ledger
from broker_tokens.simulator.login import App, require, same
from broker_tokens.simulator.minting import expiry_after
from broker_tokens.simulator.wire import RefusalError, Request, Response, json_response

REQUEST_PATH = "/v3/login/auth/token/request/"

# What a receiver may take before the delivery counts as failed, in seconds; undocumented.
DELIVERY_SECONDS = 5

Deliver = Callable[[str, bytes], int]


@dataclass(frozen=True)
class PendingApproval:
    """A request on the person's phone, not answered yet."""

    asked_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Delivery:
    """One webhook that was sent, and the status it was answered with (0: nobody answered)."""

    url: str
    body: bytes = field(repr=False)
    status: int


def post(url: str, body: bytes) -> int:
    """Send a webhook and return the HTTP status, 0 if nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(  # noqa: S310 -- the address is the test's own
            url, body, {"Content-Type": "application/json"}, method="POST"
        )
        with opener.open(request, timeout=DELIVERY_SECONDS) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return 0


class Approvals:
    """The rules of the request; the caller holds the lock."""

    def __init__(self, clock: Clock, app: App, ledger: Ledger) -> None:
        self._clock = clock
        self._app = app
        self._ledger = ledger
        self._pending: PendingApproval | None = None
        self.notifier_url = ""
        self.refusal = ""

    @property
    def pending(self) -> PendingApproval | None:
        """The request on the phone; it ends at 03:30 IST."""
        if self._pending is not None and self._clock() >= self._pending.expires_at:
            self._pending = None
        return self._pending

    def request(self, request: Request) -> Response:
        """Put a request on the phone; that a second one replaces the first is undocumented."""
        client_id = request.path.removeprefix(REQUEST_PATH)
        fields = request.json_fields()
        require({"client_id": client_id}, "client_id", "UDAPI1017")
        require(fields, "client_secret", "UDAPI1024")
        if not (
            same(client_id, self._app.client_id)
            and same(fields["client_secret"], self._app.client_secret)
        ):
            raise RefusalError("UDAPI100069")
        if self.refusal:
            raise RefusalError(self.refusal)
        if not self.notifier_url:
            raise RefusalError("UDAPI1123")
        now = self._clock()
        self._pending = PendingApproval(now, expiry_after(now))
        data = {
            "authorization_expiry": milliseconds(self._pending.expires_at),
            "notifier_url": self.notifier_url,
        }
        return json_response({"status": "success", "data": data})

    def approve(self, user_id: str) -> tuple[str, dict[str, object]]:
        """Tap Approve; return the new token and the webhook's payload."""
        if self.pending is None:
            raise LookupError("no request for approval is pending")
        self._pending = None
        token = self._ledger.issue_access(user_id)
        return token, self.payload(token, user_id)

    def reject(self) -> None:
        """Tap Reject: nothing is sent."""
        if self.pending is None:
            raise LookupError("no request for approval is pending")
        self._pending = None

    def payload(self, token: str, user_id: str) -> dict[str, object]:
        """Return the documented webhook for a token (Upstox docs, Notifier Webhook)."""
        now = self._clock()
        return {
            "client_id": self._app.client_id,
            "user_id": user_id,
            "access_token": token,
            "token_type": "Bearer",
            "expires_at": milliseconds(expiry_after(now)),
            "issued_at": milliseconds(now),
            "message_type": "access_token",
        }


def milliseconds(instant: datetime) -> str:
    """Return epoch milliseconds as a string, as all times of this API are written."""
    return str(int(instant.timestamp()) * 1000)


def body_of(payload: Mapping[str, object]) -> bytes:
    """Return a payload as it is sent."""
    return json.dumps(payload).encode()

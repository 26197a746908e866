"""The simulated broker: its memory and its rules, without a socket and with a clock to move."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock

from broker_tokens.clock import Clock
from broker_tokens.simulator.approvals import (
    REQUEST_PATH,
    Approvals,
    Deliver,
    Delivery,
    PendingApproval,
    body_of,
    post,
)
from broker_tokens.simulator.ledger import Ledger
from broker_tokens.simulator.login import App, LoginEndpoints, RefreshGrant
from broker_tokens.simulator.market import HOLIDAYS_PATH, TIMINGS_PATH, Holiday
from broker_tokens.simulator.minting import Mint
from broker_tokens.simulator.resources import FEED_PATH, ORDER_PATH, Resources
from broker_tokens.simulator.wire import RefusalError, Request, Response

__all__ = ["Endpoint", "Recorded", "RefreshGrant", "Request", "Response", "SimulatedUpstox"]

# Enough for any test; a simulator left running for weeks must not fill the memory.
MAX_RECORDED = 10_000

# A wrong method on a known path: OpenAPI declares the status, the code is undocumented.
METHOD_CODE, METHOD_STATUS = "UDAPI10000", 405


class Endpoint(StrEnum):
    """The endpoints, named as `Recorded.endpoint` shows them."""

    DIALOG = "dialog"
    TOKEN = "token"  # noqa: S105 -- the endpoint's name
    PROFILE = "profile"
    LTP = "ltp"
    LOGOUT = "logout"
    FEED = "feed"
    APPROVAL = "approval"
    ORDER = "order"
    HOLIDAYS = "holidays"
    TIMINGS = "timings"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Recorded:
    """One answered request; `form` holds what was sent, secrets included, for tests to read."""

    endpoint: Endpoint
    at: datetime
    form: Mapping[str, str] = field(repr=False)
    status: int
    error_code: str = ""


@dataclass(frozen=True)
class _Route:
    endpoint: Endpoint
    method: str
    answer: Callable[[Request], Response]


class SimulatedUpstox:
    """Upstox as documented, for one app; safe to call from several threads.

    What the documentation leaves open is a switch: `refresh`, `opaque_tokens`, `code_life`,
    `newest_token_only` (a new access token ends the user's older ones) and `statuses` (error code
    to HTTP status), `holidays_need_token`. `user_id` is whoever consents next, in the dialog or on
    the phone. It may be reassigned, as may `notifier_url`, `approval_refusal` (UDAPI1124 and its
    like), `static_ip_gate` (the profile is refused), `feed_refusal` (the code of the feed's 403),
    `holidays`, `faults` (endpoint -> the error codes of its next replies) and `date_shift` (how far
    the `Date` header is from the clock; None: no such header). `deliver` sends a webhook and
    returns its status.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        client_id: str = "sim-client",
        client_secret: str = "sim-secret",  # noqa: S107 -- opens nothing but this simulator
        redirect_uri: str = "http://localhost:3000/callback",
        user_id: str = "SIM001",
        refresh: RefreshGrant = RefreshGrant.OFF,
        opaque_tokens: bool = False,
        code_life: timedelta = timedelta(minutes=2),
        newest_token_only: bool = False,
        statuses: Mapping[str, int] | None = None,
        on_request: Callable[[Recorded], None] | None = None,
        notifier_url: str = "",
        holidays: Sequence[Holiday] = (),
        holidays_need_token: bool = False,
        deliver: Deliver = post,
    ) -> None:
        self.clock = clock
        self.faults: dict[Endpoint, list[str]] = {}
        self.date_shift: timedelta | None = timedelta(0)
        self._deliver = deliver
        self._deliveries: deque[Delivery] = deque(maxlen=MAX_RECORDED)
        self.user_id = user_id
        self._app = App(client_id, client_secret, redirect_uri)
        self._statuses = dict(statuses or {})
        self._on_request = on_request
        self._lock = Lock()
        self._recorded: deque[Recorded] = deque(maxlen=MAX_RECORDED)
        self._ledger = Ledger(
            clock, Mint(opaque_tokens), code_life=code_life, newest_token_only=newest_token_only
        )
        self._login = LoginEndpoints(clock, self._app, self._ledger, refresh)
        self._approvals = Approvals(clock, self._app, self._ledger)
        self._approvals.notifier_url = notifier_url
        self._resources = Resources(self._ledger, holidays, holidays_need_token)
        self._routes = self._build_routes()

    @property
    def requests(self) -> list[Recorded]:
        """Return the requests answered so far, oldest first, the last 10,000 of them."""
        with self._lock:
            return list(self._recorded)

    @property
    def token_requests(self) -> int:
        """Return how many of the recorded requests went to the token endpoint."""
        return sum(record.endpoint is Endpoint.TOKEN for record in self.requests)

    @property
    def approval_requests(self) -> int:
        """Return how many of the recorded requests asked the phone."""
        return sum(record.endpoint is Endpoint.APPROVAL for record in self.requests)

    @property
    def pending_approval(self) -> PendingApproval | None:
        """Return the request that waits on the phone."""
        with self._lock:
            return self._approvals.pending

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the webhooks sent so far, oldest first."""
        with self._lock:
            return list(self._deliveries)

    @property
    def notifier_url(self) -> str:
        """The app's registered notifier address."""
        return self._approvals.notifier_url

    @notifier_url.setter
    def notifier_url(self, url: str) -> None:
        self._approvals.notifier_url = url

    @property
    def approval_refusal(self) -> str:
        """The code with which a request for approval is refused; empty: it is taken."""
        return self._approvals.refusal

    @approval_refusal.setter
    def approval_refusal(self, code: str) -> None:
        self._approvals.refusal = code

    @property
    def holidays(self) -> Sequence[Holiday]:
        """The exchange's special days."""
        return self._resources.holidays

    @holidays.setter
    def holidays(self, days: Sequence[Holiday]) -> None:
        self._resources.holidays = days

    @property
    def static_ip_gate(self) -> bool:
        """Whether the profile is refused, as it is from another address than the registered."""
        return self._resources.static_ip_gate

    @static_ip_gate.setter
    def static_ip_gate(self, is_closed: bool) -> None:
        self._resources.static_ip_gate = is_closed

    @property
    def feed_refusal(self) -> str:
        """The code with which the feed's address is refused, with 403; empty: it is given."""
        return self._resources.feed_refusal

    @feed_refusal.setter
    def feed_refusal(self, code: str) -> None:
        self._resources.feed_refusal = code

    def approve(self, copies: int = 1) -> str:
        """Tap Approve on the phone: mint, and deliver the webhook `copies` times.

        Raises LookupError when no request is pending.
        """
        with self._lock:
            token, payload = self._approvals.approve(self.user_id)
        for _ in range(copies):
            self._send(body_of(payload))
        return token

    def reject(self) -> None:
        """Tap Reject on the phone: nothing is sent. Raises LookupError when none is pending."""
        with self._lock:
            self._approvals.reject()

    def send_webhook(self, access_token: str, **changes: object) -> int:
        """Deliver a webhook for any token, with fields replaced (None: left out); as forgers do."""
        with self._lock:
            payload = self._approvals.payload(access_token, self.user_id) | changes
        kept = {key: value for key, value in payload.items() if value is not None}
        return self._send(body_of(kept))

    def handle(self, request: Request) -> Response:
        """Answer one request, and record it."""
        with self._lock:
            at = self.clock()
            route = self._route_of(request.path)
            try:
                response, code = self._answer(route, request), ""
            except RefusalError as refusal:
                response, code = refusal.response(self._statuses), refusal.code
            endpoint = route.endpoint if route else Endpoint.UNKNOWN
            sent = request.json_fields() if endpoint is Endpoint.APPROVAL else request.form()
            record = Recorded(endpoint, at, sent, response.status, code)
            self._recorded.append(record)
        if self._on_request is not None:
            self._on_request(record)
        return response

    def is_live(self, access_token: str) -> bool:
        """Tell whether the broker would accept this access token now."""
        with self._lock:
            return self._ledger.holding(access_token) is not None

    def mint(self, user_id: str | None = None) -> str:
        """Return a live access token, as the developer page's Generate button gives."""
        with self._lock:
            return self._ledger.issue_access(user_id or self.user_id)

    def mint_analytics(self, user_id: str | None = None) -> str:
        """Return a read-only token of a year, as the developer page makes (Analytics Token)."""
        with self._lock:
            return self._ledger.analytics_token(user_id or self.user_id)

    def revoke(self, access_token: str) -> None:
        """End one access token early."""
        with self._lock:
            self._ledger.revoke_access(access_token)

    def revoke_all(self, *, refresh_tokens: bool = False) -> None:
        """End every access token, as a change of the static IP does; on request, refresh ones."""
        with self._lock:
            self._ledger.revoke_all_access()
            if refresh_tokens:
                self._ledger.revoke_all_families()

    def _build_routes(self) -> dict[str, _Route]:
        return {
            "/v2/login/authorization/dialog": _Route(
                Endpoint.DIALOG, "GET", lambda request: self._login.dialog(request, self.user_id)
            ),
            "/v2/login/authorization/token": _Route(Endpoint.TOKEN, "POST", self._login.token),
            "/v2/user/profile": _Route(Endpoint.PROFILE, "GET", self._resources.profile),
            REQUEST_PATH: _Route(Endpoint.APPROVAL, "POST", self._approvals.request),
            HOLIDAYS_PATH: _Route(Endpoint.HOLIDAYS, "GET", self._resources.market_holidays),
            TIMINGS_PATH: _Route(Endpoint.TIMINGS, "GET", self._resources.market_timings),
            "/v3/market-quote/ltp": _Route(Endpoint.LTP, "GET", self._resources.last_prices),
            "/v2/logout": _Route(Endpoint.LOGOUT, "DELETE", self._resources.logout),
            ORDER_PATH: _Route(Endpoint.ORDER, "POST", self._resources.place_order),
            FEED_PATH: _Route(Endpoint.FEED, "GET", self._resources.feed),
        }

    def _route_of(self, path: str) -> _Route | None:
        """Return the route of a path; three of them go on with an id or a date."""
        for prefix in (REQUEST_PATH, TIMINGS_PATH, f"{HOLIDAYS_PATH}/"):
            if path.startswith(prefix):
                return self._routes[prefix if prefix in self._routes else HOLIDAYS_PATH]
        return self._routes.get(path)

    def _send(self, body: bytes) -> int:
        """Deliver outside the lock: the receiver may ask us about the token meanwhile."""
        url = self.notifier_url
        status = self._deliver(url, body)
        with self._lock:
            self._deliveries.append(Delivery(url, body, status))
        return status

    def _answer(self, route: _Route | None, request: Request) -> Response:
        if route is None:
            raise RefusalError("UDAPI100060")
        if faults := self.faults.get(route.endpoint):
            raise RefusalError(faults.pop(0))
        if request.method != route.method:
            raise RefusalError(METHOD_CODE, status=METHOD_STATUS, headers={"Allow": route.method})
        return route.answer(request)

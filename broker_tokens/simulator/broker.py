"""The simulated broker: its memory and its rules, without a socket and with a clock to move."""

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock

from broker_tokens.clock import Clock
from broker_tokens.simulator.ledger import Ledger
from broker_tokens.simulator.login import App, LoginEndpoints, RefreshGrant, profile_of, with_query
from broker_tokens.simulator.minting import Mint
from broker_tokens.simulator.quotes import last_prices
from broker_tokens.simulator.wire import RefusalError, Request, Response, json_response

__all__ = ["Endpoint", "Recorded", "RefreshGrant", "Request", "Response", "SimulatedUpstox"]

# Enough for any test; a simulator left running for weeks must not fill the memory.
MAX_RECORDED = 10_000

# A wrong method on a known path: OpenAPI declares the status, the code is undocumented.
METHOD_CODE, METHOD_STATUS = "UDAPI10000", 405

# A dead token's logout is not answered in the usual envelope (Upstox docs, Logout); the shape
# itself is undocumented.
LOGOUT_REFUSED: Mapping[str, object] = {"status": "error", "data": False}

# The documented address is one of Upstox's own. `.invalid` never resolves (RFC 6761, section
# 6.4), so a client that connects with a simulated code cannot reach the real broker.
FEED_ADDRESS = "wss://feed.simulator.invalid/market-data-feeder/v3/feeds"


class Endpoint(StrEnum):
    """The endpoints, named as `Recorded.endpoint` shows them."""

    DIALOG = "dialog"
    TOKEN = "token"  # noqa: S105 -- the endpoint's name
    PROFILE = "profile"
    LTP = "ltp"
    LOGOUT = "logout"
    FEED = "feed"
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
    to HTTP status). `user_id` is whoever consents in the dialog next; it may be reassigned.
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
    ) -> None:
        self.clock = clock
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

    def handle(self, request: Request) -> Response:
        """Answer one request, and record it."""
        with self._lock:
            at = self.clock()
            route = self._routes.get(request.path)
            try:
                response, code = self._answer(route, request), ""
            except RefusalError as refusal:
                response, code = refusal.response(self._statuses), refusal.code
            endpoint = route.endpoint if route else Endpoint.UNKNOWN
            record = Recorded(endpoint, at, request.form(), response.status, code)
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
            "/v2/user/profile": _Route(Endpoint.PROFILE, "GET", self._profile),
            "/v3/market-quote/ltp": _Route(Endpoint.LTP, "GET", self._last_prices),
            "/v2/logout": _Route(Endpoint.LOGOUT, "DELETE", self._logout),
            "/v3/feed/market-data-feed/authorize": _Route(Endpoint.FEED, "GET", self._feed),
        }

    def _answer(self, route: _Route | None, request: Request) -> Response:
        if route is None:
            raise RefusalError("UDAPI100060")
        if request.method != route.method:
            raise RefusalError(METHOD_CODE, status=METHOD_STATUS, headers={"Allow": route.method})
        return route.answer(request)

    def _bearer(self, request: Request) -> str:
        """Return the user of a live bearer token (Upstox docs, Error Codes)."""
        token = request.bearer()
        if self._ledger.is_extended(token):
            # Only the calls on Upstox's list take it; that none of these is listed is our choice.
            raise RefusalError("UDAPI100067")
        holding = self._ledger.holding(token)
        if holding is None:
            raise RefusalError("UDAPI100050")
        return holding.user_id

    def _profile(self, request: Request) -> Response:
        return _success(profile_of(self._bearer(request)))

    def _last_prices(self, request: Request) -> Response:
        self._bearer(request)
        return _success(last_prices(request.query.get("instrument_key", "")))

    def _logout(self, request: Request) -> Response:
        if self._ledger.holding(request.bearer()) is None:
            return json_response(LOGOUT_REFUSED, 401)
        self._ledger.revoke_access(request.bearer())
        return _success(True)

    def _feed(self, request: Request) -> Response:
        """Return a one-time address, both spellings (Upstox docs, Market Data Feed V3)."""
        self._bearer(request)
        once = {"requestId": secrets.token_hex(16), "code": secrets.token_urlsafe(16)}
        address = with_query(FEED_ADDRESS, once)
        return _success({"authorized_redirect_uri": address, "authorizedRedirectUri": address})


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})

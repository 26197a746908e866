"""A clock to move by hand, and a client for the simulated broker, to be led astray."""

from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from broker_tokens.clock import IST
from broker_tokens.simulator.broker import Request, Response, SimulatedUpstox

DIALOG = "/v2/login/authorization/dialog"
TOKEN = "/v2/login/authorization/token"
PROFILE = "/v2/user/profile"
LTP = "/v3/market-quote/ltp"
LOGOUT = "/v2/logout"
ORDER = "/v3/order/place"
FEED = "/v3/feed/market-data-feed/authorize"

NIFTY = "NSE_INDEX|Nifty 50"
REDIRECT = "http://localhost:3000/callback"
CREDENTIALS = {"client_id": "sim-client", "client_secret": "sim-secret"}


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class Client:
    """A client that keeps the rules, to be led astray field by field (None leaves one out)."""

    def __init__(self, broker: SimulatedUpstox) -> None:
        self.broker = broker

    def dialog(self, **changes: str | None) -> Response:
        query = {
            "client_id": "sim-client",
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "state": "s1",
        }
        return self.broker.handle(Request("GET", DIALOG, changed(query, changes)))

    def code(self) -> str:
        location = self.dialog().headers["Location"]
        return parse_qs(urlsplit(location).query)["code"][0]

    def post_form(self, form: dict[str, str]) -> Response:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.broker.handle(
            Request("POST", TOKEN, {}, headers, urlencode(form).encode("ascii"))
        )

    def exchange(self, **changes: str | None) -> Response:
        form = CREDENTIALS | {"grant_type": "authorization_code", "redirect_uri": REDIRECT}
        if "code" not in changes:
            changes["code"] = self.code()
        return self.post_form(changed(form, changes))

    def refresh(self, refresh_token: str | None, **changes: str | None) -> Response:
        form = CREDENTIALS | {"grant_type": "refresh_token"}
        return self.post_form(changed(form, {"refresh_token": refresh_token} | changes))

    def get(self, path: str, token: str | None, method: str = "GET", **query: str) -> Response:
        headers = {} if token is None else {"AUTHORIZATION": f"Bearer {token}"}
        return self.broker.handle(Request(method, path, query, headers))

    def ltp(self, token: str | None, instrument_key: str = NIFTY) -> Response:
        return self.get(LTP, token, instrument_key=instrument_key)


def changed(fields: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """Return the fields with some replaced, added or (None) left out."""
    merged = fields | changes
    return {name: value for name, value in merged.items() if value is not None}


def error_of(response: Response) -> tuple[int, str]:
    """Return the status and the error code, having seen both spellings agree."""
    (problem,) = response.json()["errors"]
    assert problem["error_code"] == problem["errorCode"]
    return response.status, problem["error_code"]


def at(text: str) -> datetime:
    """Return an IST wall time as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=IST)

"""Requests and replies as values, and Upstox's error envelope with both of its spellings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"

# A login form has seven fields; a form with far more is noise, refused before it costs memory.
MAX_FIELDS = 64

# Code -> (HTTP status, message). Codes and meanings: Upstox docs, Error Codes and Get Token.
# Statuses marked "undocumented" are a choice of ours; `SimulatedUpstox(statuses=...)` changes them.
ERRORS: dict[str, tuple[int, str]] = {
    "UDAPI1009": (400, "The instrument key is required"),
    "UDAPI1011": (400, "The instrument key is of invalid format"),
    "UDAPI1017": (400, "The API key is required"),
    "UDAPI1018": (400, "The redirect URI is required"),
    "UDAPI1022": (400, "The code is required"),
    "UDAPI1023": (400, "The grant type is required"),
    "UDAPI1024": (400, "The app secret is required"),
    "UDAPI1087": (400, "One of the instrument keys is invalid"),
    "UDAPI1123": (400, "The notifier URL is missing"),  # status undocumented, as of the next three
    "UDAPI1124": (400, "The user is not an individual"),
    "UDAPI1149": (403, "Upstox Plus is needed for this API"),  # status undocumented
    "UDAPI1155": (400, "The app is under review or rejected"),
    "UDAPI1157": (400, "The app has expired"),
    "UDAPI1221": (401, "This API is allowed only from the registered static IP"),
    "UDAPI10005": (429, "Too many requests"),
    "UDAPI10000": (400, "This request is not supported by the Upstox API"),
    "UDAPI100036": (400, "Invalid input passed to the API"),
    "UDAPI100043": (400, "The number of instrument keys is above the limit"),
    "UDAPI100050": (401, "Invalid token used to access API"),
    "UDAPI100057": (401, "Invalid Auth code"),  # status undocumented
    "UDAPI100500": (500, "Something went wrong"),
    "UDAPI100060": (404, "Resource not found"),
    "UDAPI100067": (403, "The API is not permitted with an extended token"),  # status undocumented
    "UDAPI100068": (400, "Check your 'client_id' and 'redirect_uri'; one or both are incorrect"),
    "UDAPI100069": (401, "Check your 'client_id' and 'client_secret'"),  # status undocumented
    "UDAPI100070": (400, "The 'redirect_uri' is invalid"),  # status undocumented
}


@dataclass(frozen=True)
class Request:
    """One HTTP request, already taken apart; header names are compared without case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """Return one header's value, or an empty string when it was not sent."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")

    def bearer(self) -> str:
        """Return the token of `Authorization: Bearer TOKEN`, or an empty string."""
        scheme, _, token = self.header("Authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def form(self) -> dict[str, str]:
        """Return the form's fields; a body of another type has none (Upstox docs, Get Token)."""
        if self.header("Content-Type").partition(";")[0].strip().lower() != FORM_TYPE:
            return {}
        return parse_fields(self.body.decode("utf-8", "replace"))

    def json_fields(self) -> dict[str, str]:
        """Return the text fields of a JSON body; none when it is something else."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        fields = content if isinstance(content, dict) else {}
        return {key: value for key, value in fields.items() if isinstance(value, str)}


@dataclass(frozen=True)
class Response:
    """One HTTP reply, ready to be sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> dict[str, Any]:
        """Return the body as the JSON object that it is."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


class RefusalError(Exception):
    """The broker says no: an error code, the field at fault, and what else the reply carries."""

    def __init__(
        self,
        code: str,
        at: str | None = None,
        *,
        status: int | None = None,
        extra: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.at = at
        self.status = status
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def response(self, statuses: Mapping[str, int]) -> Response:
        """Return the refusal as a reply; `statuses` replaces the usual status of a code."""
        usual, message = ERRORS[self.code]
        status = self.status or statuses.get(self.code, usual)
        content = {
            "status": "error",
            "errors": [problem(self.code, message, self.at)],
            **self.extra,
        }
        return json_response(content, status, self.headers)


def problem(code: str, message: str, at: str | None) -> dict[str, str | None]:
    """Return one entry of `errors`, both spellings filled (Upstox docs, Response Structure)."""
    return {
        "error_code": code,
        "errorCode": code,
        "message": message,
        "property_path": at,
        "propertyPath": at,
        # Never the value itself: it may be a secret with a typing error in it.
        "invalid_value": None,
        "invalidValue": None,
    }


def json_response(
    content: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a reply with a JSON body."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(status, {"Content-Type": JSON_TYPE, **(headers or {})}, body)


def parse_fields(text: str) -> dict[str, str]:
    """Return the fields of a query or form, the first of each name; none when it is absurd."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))

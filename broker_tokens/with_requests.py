"""For `requests`: `session.auth = UpstoxAuth()`, and every call has a live token."""

from typing import Any

import requests
from requests.auth import AuthBase

from broker_tokens.bearer import Bearer
from upstox_token_manager import UpstoxTokenManager


class UpstoxAuth(AuthBase):
    """Adds the bearer token to calls to Upstox, and to no others.

    A call that Upstox refuses because the token has died (401, UDAPI100050) has it renewed; it is
    repeated once if it changes nothing (GET), and never if it could be an order.
    """

    def __init__(self, manager: UpstoxTokenManager | None = None) -> None:
        """Use `manager`, else one of the nearest `.env`; raises ConfigurationError without one."""
        self._bearer = Bearer(manager)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token; raises LoginRequired and its like as `get_current_token` does."""
        if self._bearer.may_go_to(request.url or ""):
            request.headers["Authorization"] = self._bearer.header()
            request.register_hook("response", self._judge)  # type: ignore[no-untyped-call]
        return request

    def _judge(self, response: requests.Response, **options: Any) -> requests.Response:
        sent = response.request.headers.get("Authorization", "")
        # A redirect may have led to others, without the header: what they say is not Upstox's word.
        if response.status_code != 401 or not sent:
            return response
        fresh = self._bearer.header_after(response.request.method or "", sent, response.content)
        if fresh is None:
            return response
        response.close()
        request = response.request.copy()
        request.headers["Authorization"] = fresh
        # Sent past the session, so that a second 401 is an answer and not another occasion.
        again: requests.Response = response.connection.send(request, **options)
        again.history.append(response)
        again.request = request
        return again

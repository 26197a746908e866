"""For `httpx`: `Client(auth=UpstoxAuth())`, or `AsyncClient`, and every call has a live token."""

from collections.abc import AsyncGenerator, Generator

import anyio.to_thread
import httpx

from broker_tokens.bearer import Bearer
from upstox_token_manager import UpstoxTokenManager


class UpstoxAuth(httpx.Auth):
    """Adds the bearer token to calls to Upstox, and to no others.

    A call that Upstox refuses because the token has died (401, UDAPI100050) has it renewed; it is
    repeated once if it changes nothing (GET), and never if it could be an order. An event loop is
    not held up meanwhile.
    """

    def __init__(self, manager: UpstoxTokenManager | None = None) -> None:
        """Use `manager`, else one of the nearest `.env`; raises ConfigurationError without one."""
        self._bearer = Bearer(manager)

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with the token, and once more if that can help; raises as `get_current_token`."""
        if not self._bearer.may_go_to(str(request.url)):
            yield request
            return
        sent = request.headers["Authorization"] = self._bearer.header()
        response = yield request
        if response.status_code == 401:
            body = response.read()
            fresh = self._bearer.header_after(request.method, sent, body)
            if fresh is not None:
                request.headers["Authorization"] = fresh
                yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without holding up the event loop."""
        in_thread = anyio.to_thread.run_sync
        if not await in_thread(self._bearer.may_go_to, str(request.url)):
            yield request
            return
        sent = request.headers["Authorization"] = await in_thread(self._bearer.header)
        response = yield request
        if response.status_code == 401:
            body = await response.aread()
            fresh = await in_thread(self._bearer.header_after, request.method, sent, body)
            if fresh is not None:
                request.headers["Authorization"] = fresh
                yield request

"""A simulated broker that can be told to misbehave, and that remembers every secret it has met."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from broker_tokens.clock import system_clock
from broker_tokens.simulator.broker import SimulatedUpstox
from broker_tokens.simulator.wire import Request, Response

CLIENT_SECRET = "planted-client-secret-5d1c"

# What a request may take to arrive, even on a busy machine.
LIMIT = 30

Answer = Callable[[Request, Callable[[], Response]], Response]


class ScriptedUpstox(SimulatedUpstox):
    """The simulated broker; `answers` replaces what a path answers, `secrets` is what leaked."""

    def __init__(self, clock=system_clock, **rules) -> None:
        super().__init__(clock, client_secret=CLIENT_SECRET, **rules)
        self.secrets = {CLIENT_SECRET}
        self.answers: dict[str, Answer | Response] = {}
        self.arrived: list[str] = []
        self._arrival = threading.Condition()

    def handle(self, request: Request) -> Response:
        with self._arrival:
            self.arrived.append(request.path)
            self._arrival.notify_all()
        self._note(request.form())
        answer = self.answers.get(request.path)
        if isinstance(answer, Response):
            return answer
        real = super().handle
        response = answer(request, lambda: real(request)) if answer else real(request)
        self._note_reply(response)
        return response

    def mint(self, user_id: str | None = None) -> str:
        token = super().mint(user_id)
        self.secrets.add(token)
        return token

    def mint_analytics(self, user_id: str | None = None) -> str:
        token = super().mint_analytics(user_id)
        self.secrets.add(token)
        return token

    def count(self, path: str) -> int:
        """Return how many requests for `path` have arrived, answered or not."""
        with self._arrival:
            return self.arrived.count(path)

    def await_request(self, path: str, number: int = 1) -> None:
        """Wait until `number` requests for `path` have arrived."""
        with self._arrival:
            came = self._arrival.wait_for(lambda: self.arrived.count(path) >= number, LIMIT)
        assert came, f"no request number {number} for {path} came"

    def _note(self, fields: dict) -> None:
        for name in ("code", "access_token", "refresh_token", "extended_token"):
            if isinstance(fields.get(name), str) and fields[name]:
                self.secrets.add(fields[name])

    def _note_reply(self, response: Response) -> None:
        query = parse_qs(urlsplit(response.headers.get("Location", "")).query)
        self._note({"code": query.get("code", [""])[0]})
        with suppress(ValueError):
            body = json.loads(response.body)
            self._note(body if isinstance(body, dict) else {})
            self._note_feed(body)

    def _note_feed(self, body: object) -> None:
        """The address of a feed opens it, once, for whoever has it."""
        data = body.get("data") if isinstance(body, dict) else None
        address = data.get("authorized_redirect_uri") if isinstance(data, dict) else None
        if address:
            self.secrets.update(parse_qs(urlsplit(address).query)["code"])


class Hang:
    """An answer that does not come until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self, request: Request, real: Callable[[], Response]) -> Response:
        self.release.wait(LIMIT)
        return real()

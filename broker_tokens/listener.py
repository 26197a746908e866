"""`--listen`: the notifier and the login's redirect, served by threads beside the loop."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from urllib.parse import urlsplit

from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.attendance import Heartbeat
from broker_tokens.clock import Clock
from broker_tokens.errors import TokenError
from broker_tokens.inbox import Inbox
from broker_tokens.look import Look
from broker_tokens.place import Place
from broker_tokens.renewals.phone_approval import NOTIFIER_PATH
from broker_tokens.settings import Settings
from broker_tokens.transport import DEADLINE
from broker_tokens.waker import Waker
from broker_tokens.web.health import Health
from broker_tokens.web.http_server import WebServer
from broker_tokens.web.http_values import Route
from broker_tokens.web.receiver import Receiver
from broker_tokens.web.recent_look import RecentLook
from broker_tokens.web.redirects import Redirects
from broker_tokens.web.tally import Tally

log = logging.getLogger(__name__)

# A token request under way is waited for: its lost reply could be a lost login.
_GRACE = DEADLINE + timedelta(seconds=2)

# A judgement under way is given up: what it is about waits on disk.
_RECEIVER_GRACE = timedelta(seconds=0.5)


@contextmanager
def listening(
    env_path: str,
    place: Place,
    announcer: Announcer,
    wake: Callable[[], None],
    *,
    environ: Mapping[str, str] | None,
    clock: Clock,
    heartbeat: Heartbeat | None = None,
) -> Iterator[Place]:
    """Serve until left, and give the place with the real port; `wake` has the loop look again.

    Makes the notifier's secret if there is none. `heartbeat` is the loop's, for those who watch
    whether it beats. Raises ConfigurationError, StoreError, and TemporaryFailure if the place
    cannot be listened at.
    """
    with closing(Waker()) as own_waker:
        # A service of its own: the loop's may wait for the network, or be told to stop.
        service = build_service(
            env_path,
            environ=environ,
            clock=clock,
            announcer=announcer,
            is_listening=True,
            waker=own_waker,
        )
        service.notifier_secret()
        look = RecentLook(service.look, clock)

        def on_accepted() -> None:
            look.forget()
            wake()

        tally = Tally(clock, log)
        inbox = Inbox(env_path)
        receiver = Receiver(look, service.accept_delivered, inbox, tally.count, on_accepted)
        redirects = Redirects(look, service.exchange_code, on_accepted)
        seen = heartbeat or Heartbeat(env_path, clock)
        health = Health(look, lambda: seen.last, tally.totals, clock, pid=os.getpid())
        addresses = _Addresses(look, receiver, redirects, health)
        with WebServer(place.host, place.port, addresses, tally.count) as server:
            receiver.start()
            try:
                yield Place(place.host, server.address[1])
            finally:
                own_waker.stop()  # who waits for the lock is sent away; a token request goes on
                server.close(_GRACE)
                receiver.close(_RECEIVER_GRACE)
                tally.flush()


@contextmanager
def judging_what_is_left(
    env_path: str,
    announcer: Announcer,
    wake: Callable[[], None],
    *,
    environ: Mapping[str, str] | None,
    clock: Clock,
) -> Iterator[None]:
    """Judge, until left, what was delivered to a service that listened and was then stopped."""
    with closing(Waker()) as own_waker:
        service = build_service(
            env_path, environ=environ, clock=clock, announcer=announcer, waker=own_waker
        )
        tally = Tally(clock, log)
        receiver = Receiver(
            service.look, service.accept_delivered, Inbox(env_path), tally.count, wake
        )
        receiver.start()
        try:
            yield
        finally:
            own_waker.stop()
            receiver.close(_RECEIVER_GRACE)


class _Addresses:
    """What is served, by the present settings: a new secret or redirect URI counts in a second."""

    def __init__(
        self, look: Callable[[], Look], receiver: Receiver, redirects: Redirects, health: Health
    ) -> None:
        self._look = look
        self._receiver = receiver
        self._redirects = redirects
        self._health = health.routes()
        self._last: list[Route] = []

    def __call__(self) -> Sequence[Route]:
        """Return the routes; the last known ones while the settings cannot be read.

        Of two with one path the later one counts: a redirect URI may have any.
        """
        with suppress(TokenError):
            self._last = self._routes(self._look().settings)
        return [*self._health, *self._last]

    def _routes(self, settings: Settings) -> list[Route]:
        path = urlsplit(settings.redirect_uri).path or "/"
        routes = [Route(path, "GET", self._redirects.receive)]
        if settings.notifier_secret is not None:
            path = NOTIFIER_PATH + settings.notifier_secret.reveal()
            routes.append(Route(path, "POST", self._receiver.receive))
        return routes

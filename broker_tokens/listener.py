"""`--listen`: the notifier and the login's redirect, served by threads beside the loop."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.clock import Clock
from broker_tokens.inbox import Inbox
from broker_tokens.place import Place
from broker_tokens.renewals.phone_approval import NOTIFIER_PATH
from broker_tokens.service import TokenService
from broker_tokens.transport import DEADLINE
from broker_tokens.web.http_server import WebServer
from broker_tokens.web.http_values import Route
from broker_tokens.web.receiver import Receiver
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
) -> Iterator[Place]:
    """Serve until left, and give the place with the real port; `wake` has the loop look again.

    Makes the notifier's secret if there is none. Raises ConfigurationError, StoreError, and
    TemporaryFailure if the place cannot be listened at.
    """
    # A service of its own: the loop's may wait for the network, or be told to stop.
    service = build_service(
        env_path, environ=environ, clock=clock, announcer=announcer, is_listening=True
    )
    tally = Tally(clock, log)
    receiver = Receiver(
        service.look,
        service.accept_delivered,
        Inbox(env_path),
        clock,
        tally.count,
        on_accepted=wake,
    )
    redirects = Redirects(service.look, service.exchange_code, on_accepted=wake)
    routes = _routes(service, receiver, redirects)
    with WebServer(place.host, place.port, routes, tally.count) as server:
        receiver.start()
        try:
            yield Place(place.host, server.address[1])
        finally:
            server.close(_GRACE)
            receiver.close(_RECEIVER_GRACE)
            tally.flush()


def _routes(service: TokenService, receiver: Receiver, redirects: Redirects) -> list[Route]:
    secret = service.notifier_secret()
    redirect_path = urlsplit(service.look().settings.redirect_uri).path or "/"
    return [
        Route(NOTIFIER_PATH + secret.reveal(), "POST", receiver.receive),
        Route(redirect_path, "GET", redirects.receive),
    ]

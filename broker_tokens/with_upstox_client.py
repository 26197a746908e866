"""For Upstox's own SDK (`upstox_client`): its next call, and its streamers, use the new token."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from upstox_token_manager import UpstoxTokenManager

T = TypeVar("T")


def bind(configuration: T, manager: UpstoxTokenManager | None = None) -> T:
    """Have an `upstox_client.Configuration` ask for a live token at each use; return it.

    The SDK reads `configuration.access_token` at each call and at each connection of a streamer
    (`upstox_client` 2.30). Copies of the configuration are bound too. What a call may raise is then
    also what `get_current_token` raises. `manager` is by default one of the nearest `.env`; raises
    ConfigurationError without one.
    """
    used = manager or UpstoxTokenManager()
    kind: Any = type(configuration)

    def access_token(_: Any) -> str:
        return used.get_current_token()

    def refuse(_: Any, value: str) -> None:  # noqa: ARG001 -- a setter's signature
        raise AttributeError("This configuration takes its access token from .env; do not set it.")

    namespace = {"access_token": property(access_token, refuse), "__doc__": kind.__doc__}
    configuration.__class__ = type(kind)(kind.__name__, (kind,), namespace)
    return configuration


def keep_connected(streamer: Any, manager: UpstoxTokenManager | None = None) -> Callable[[], None]:
    """Reconnect an SDK streamer with each new token; returns a function that ends that.

    Upstox ends what a token opened when the token dies, at 03:30 IST. The SDK gives up after five
    tries a second apart, and at once on "401 Unauthorized", long before the next token is there.
    """
    used = manager or UpstoxTokenManager()
    connect_anew = streamer.connect
    guard = threading.Lock()

    def connect() -> None:
        # The SDK's own tries come here, too: of two connections every tick would come twice.
        with guard:
            _end_quietly(streamer)
            connect_anew()

    def connect_with_new_token(_: str) -> None:
        # As new: a connection that then cannot be made is tried again by the SDK itself.
        streamer.disconnect_valid = streamer.reconnect_in_progress = False
        streamer.reconnect_attempts = 0
        connect()

    streamer.connect = connect
    return used.on_change(connect_with_new_token)


def _end_quietly(streamer: Any) -> None:
    """End the present connection; told to the SDK, its end would be taken for the next one's."""
    old = streamer.feeder.ws if streamer.feeder is not None else None
    if old is not None:
        old.on_open = old.on_message = old.on_error = old.on_close = None
        old.close()

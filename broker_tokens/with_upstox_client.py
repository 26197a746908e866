"""For Upstox's own SDK (`upstox_client`): its next call, and its streamers, use the new token."""

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

    def reconnect(_: str) -> None:
        if streamer.feeder is not None and streamer.feeder.ws is not None:
            streamer.disconnect()
        streamer.connect()

    return used.on_change(reconnect)

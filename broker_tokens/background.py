"""The service's loop inside another program."""

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing

from broker_tokens.aftermath import Aftermath
from broker_tokens.app import build_service
from broker_tokens.attendance import Heartbeat, only_service
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.loop import Loop
from broker_tokens.setting_values import parse_time
from broker_tokens.waker import Waker

log = logging.getLogger(__name__)


def start_thread(
    env_path: str, refresh_time: str, *, environ: Mapping[str, str] | None, clock: Clock
) -> threading.Thread | None:
    """Start the loop in a daemon thread; None if a service already keeps this `.env`.

    `refresh_time` is HH:MM, IST; raises ConfigurationError if it is not.
    """
    try:
        at = parse_time(refresh_time)
    except ValueError as error:
        raise ConfigurationError(f"refresh_time: {error}.", "Give it as '02:00', in IST.") from None
    aftermath = Aftermath(env_path, environ=environ, clock=clock)
    service = build_service(
        env_path, environ=environ, clock=clock, announcer=aftermath.announcer, refresh_time=at
    )
    running = ExitStack()
    try:
        running.enter_context(only_service(env_path))
    except TemporaryFailure as error:
        log.info("%s", error.cause)
        return None
    waker = running.enter_context(closing(Waker()))
    heartbeat = Heartbeat(env_path, clock)
    loop = Loop(
        service,
        clock,
        waker.wait,
        lambda: waker.stopping,
        look_after=aftermath.look_after,
        before_beat=heartbeat.beat,
    )

    def run() -> None:
        with running:
            loop.run()

    thread = threading.Thread(target=run, name="upstox-token-refresh", daemon=True)
    thread.start()
    return thread

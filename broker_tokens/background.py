"""The service's loop inside another program, and the rule of one service per `.env`."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from broker_tokens.app import build_service
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.event_log import log_event
from broker_tokens.loop import Loop
from broker_tokens.settings import parse_time
from broker_tokens.store import TokenStore
from broker_tokens.waker import Waker

log = logging.getLogger(__name__)


@contextmanager
def only_service(env_path: str) -> Iterator[None]:
    """Be the one service of this `.env`; raises TemporaryFailure naming the other's pid."""
    lock = TokenStore(env_path).service_lock()
    if not lock.try_acquire():
        raise TemporaryFailure(
            f"A service already runs on {env_path} (pid {lock.read_note() or 'unknown'}).",
            "One is enough; stop that one first if you want this one instead.",
        )
    try:
        lock.write_note(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()


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
    service = build_service(
        env_path, environ=environ, clock=clock, observers=[log_event], refresh_time=at
    )
    running = ExitStack()
    try:
        running.enter_context(only_service(env_path))
    except TemporaryFailure as error:
        log.info("%s", error.cause)
        return None
    waker = running.enter_context(closing(Waker()))
    loop = Loop(service, clock, waker.wait, lambda: waker.stopping)

    def run() -> None:
        with running:
            loop.run()

    thread = threading.Thread(target=run, name="upstox-token-refresh", daemon=True)
    thread.start()
    return thread

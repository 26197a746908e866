"""The service's loop inside another program, and the rule of one service per `.env`."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

from broker_tokens.aftermath import Aftermath
from broker_tokens.app import build_service
from broker_tokens.clock import Clock
from broker_tokens.errors import ConfigurationError, StoreError, TemporaryFailure
from broker_tokens.file_lock import FileLock
from broker_tokens.loop import Loop
from broker_tokens.setting_values import parse_time
from broker_tokens.store import TokenStore
from broker_tokens.waker import Waker

log = logging.getLogger(__name__)

# Who looks for a running service holds its lock for an instant; that must keep none from starting.
_LOOK_TIME = timedelta(seconds=0.2)


@contextmanager
def only_service(env_path: str) -> Iterator[FileLock]:
    """Be the one service of this `.env`; raises TemporaryFailure naming the other's pid."""
    lock = TokenStore(env_path).service_lock(_LOOK_TIME)
    try:
        lock.__enter__()
    except TemporaryFailure:
        pid = lock.read_note().partition(" ")[0]
        raise TemporaryFailure(
            f"A service already runs on {env_path} (pid {pid or 'unknown'}).",
            "One is enough; stop that one first if you want this one instead.",
        ) from None
    try:
        note_service(lock)
        yield lock
    finally:
        lock.release()


def note_service(lock: FileLock, listens_at: str = "") -> None:
    """Leave word of this service in its lock, for whoever looks: its pid, and where it listens."""
    lock.write_note(f"{os.getpid()} {listens_at}".strip() + "\n")


def listening_service(env_path: str) -> str:
    """Return where the running service of this `.env` listens, or "" if none does."""
    lock = TokenStore(env_path).service_lock()
    if not os.path.exists(lock.path):
        return ""
    try:
        is_free = lock.try_acquire()
    except StoreError:
        return ""
    lock.release()
    return "" if is_free else lock.read_note().partition(" ")[2]


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
    loop = Loop(service, clock, waker.wait, lambda: waker.stopping, aftermath.look_after)

    def run() -> None:
        with running:
            loop.run()

    thread = threading.Thread(target=run, name="upstox-token-refresh", daemon=True)
    thread.start()
    return thread

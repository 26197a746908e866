"""The one place where objects are wired together."""

from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from time import sleep

from broker_tokens.announcer import Announcer, Observer
from broker_tokens.audit import AuditTrail
from broker_tokens.brokers import Broker
from broker_tokens.brokers.upstox import Upstox
from broker_tokens.clock import Clock, system_clock
from broker_tokens.credentials import surroundings
from broker_tokens.file_lock import DEFAULT_TIMEOUT
from broker_tokens.lenient_settings import LenientSettings
from broker_tokens.service import TokenService
from broker_tokens.settings import Settings, load_settings
from broker_tokens.store import TokenStore
from broker_tokens.transport import HttpTransport, Transport
from broker_tokens.waker import Waker


def build_service(
    env_path: str,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock = system_clock,
    transport: Transport | None = None,
    waker: Waker | None = None,
    observers: Iterable[Observer] = (),
    refresh_time: time | None = None,
    need_credentials: bool = False,
    is_listening: bool = False,
    announcer: Announcer | None = None,
    lock_timeout: timedelta = DEFAULT_TIMEOUT,
) -> TokenService:
    """Return the service that keeps the tokens of one `.env`.

    `environ` (default: the process's) outranks the file for settings; `waker` lets a signal end a
    wait; `refresh_time` (IST) outranks UPSTOX_REFRESH_TIME. `is_listening` says that the broker's
    answers reach this machine's service; services of one process share an `announcer`, which then
    has the observers. `lock_timeout` is how long a caller waits while another process renews.
    """
    around = surroundings(environ)
    sender = transport or HttpTransport(waker=waker)

    def read(values: Mapping[str, str]) -> Settings:
        return load_settings(
            values,
            around,
            source=env_path,
            refresh_time=refresh_time,
            need_credentials=need_credentials,
        )

    lenient = LenientSettings(read)

    def configure(values: Mapping[str, str]) -> tuple[Settings, Broker]:
        settings = lenient(values)
        return settings, build_broker(settings, sender, clock)

    pause = waker.pause if waker else sleep
    store = TokenStore(env_path, lock_timeout=lock_timeout, pause=pause)
    return TokenService(
        store,
        configure,
        clock,
        announcer or Announcer(observers),
        is_listening=is_listening,
        audit=AuditTrail(env_path),
    )


def build_broker(settings: Settings, transport: Transport, clock: Clock) -> Broker:
    """Return the broker of these settings."""
    return Upstox(settings, transport, clock)

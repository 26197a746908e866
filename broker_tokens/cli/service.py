"""`token_refresh_service.py`: the daemon, and `--once` for cron and Task Scheduler."""

import argparse
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import time, timedelta
from types import FrameType
from typing import Any

from broker_tokens.aftermath import Aftermath
from broker_tokens.announcer import Announcer
from broker_tokens.app import build_service
from broker_tokens.attendance import Heartbeat, attendance, note_service, only_service
from broker_tokens.cli.output import error_text, guarded, say
from broker_tokens.clock import format_ist, system_clock
from broker_tokens.env_path import locate
from broker_tokens.errors import (
    EXIT_CONFIGURATION,
    EXIT_OK,
    EXIT_PERSON,
    EXIT_TEMPORARY,
    LoginRequired,
    TokenError,
)
from broker_tokens.file_metadata import open_to_others
from broker_tokens.forecast import next_step
from broker_tokens.inbox import is_any_waiting
from broker_tokens.look import Look
from broker_tokens.loop import LONGEST_WAIT, Loop
from broker_tokens.place import Place, parse_place
from broker_tokens.service import Outcome, TokenService
from broker_tokens.setting_values import parse_time
from broker_tokens.store import TokenStore
from broker_tokens.supervisor import Supervisor
from broker_tokens.waker import Stopping, Waker

log = logging.getLogger(__name__)

# How long --once waits for notices and UPSTOX_ON_RENEW: cron may not pile them up.
_ONCE_LIMIT = timedelta(seconds=90)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if options.listen and (options.once or options.force):
        made.error("--listen is for the service that keeps running, not for --once or --force")
    return guarded(lambda: _run(options))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="token_refresh_service.py",
        description="Keeps a live Upstox access token in .env. All times are IST.",
        epilog="Exit codes: 0 a live token is stored or nothing is due; 75 temporary, try again;"
        " 77 a person must act; 78 the configuration is wrong.",
    )
    made.add_argument(
        "--time",
        type=_clock_time,
        metavar="HH:MM",
        help="silent renewal each night (default: UPSTOX_REFRESH_TIME, else 02:00)",
    )
    made.add_argument("--once", action="store_true", help="do what is due now, then exit")
    made.add_argument(
        "--force", action="store_true", help="renew once, now, whatever is due, and exit"
    )
    made.add_argument("--env-file", metavar="F", help="the .env (default: the nearest one)")
    made.add_argument(
        "--log-file",
        metavar="F",
        help="the log (default: upstox_token_refresh.log beside the .env; under systemd the"
        " journal alone)",
    )
    made.add_argument(
        "--listen",
        type=_place,
        metavar="HOST:PORT",
        help="take login redirects and approved tokens there; a port alone: on 127.0.0.1",
    )
    made.add_argument("-v", "--verbose", action="store_true", help="log more")
    return made


def _clock_time(text: str) -> time:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _place(text: str) -> Place:
    try:
        return parse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    from broker_tokens import logs

    env_path = locate(options.env_file)
    log_file = options.log_file or os.path.join(os.path.dirname(env_path), logs.LOG_FILE)
    is_once = options.once or options.force
    logs.set_up(log_file, verbose=options.verbose, quiet=is_once)
    try:
        return _serve(options, env_path)
    except TokenError as error:
        # The log has it too: cron and Task Scheduler throw away what is printed.
        log.error("%s", error)
        if is_once:
            raise
        return error.exit_code


def _serve(options: argparse.Namespace, env_path: str) -> int:
    aftermath = Aftermath(env_path)
    heartbeat = Heartbeat(env_path)
    is_once = options.once or options.force
    # Beside a service that listens, --once knows as well as that one that the phone can be asked.
    is_listening = bool(attendance(env_path).listens_at) if is_once else options.listen is not None
    with closing(Waker()) as waker:
        service = build_service(
            env_path,
            waker=waker,
            announcer=aftermath.announcer,
            refresh_time=options.time,
            need_credentials=True,
            is_listening=is_listening,
        )
        with _signals_to(waker):
            with suppress(TokenError):  # what is wrong with the files is said by the first look
                TokenStore(env_path, pause=waker.pause).clear_leftovers()
            if is_once:
                code = _once(service, aftermath, heartbeat, force=options.force)
                aftermath.finish(_ONCE_LIMIT, lambda: waker.stopping)
                return code
            with (
                only_service(env_path) as lock,
                _listening(options, env_path, aftermath.announcer, waker, heartbeat) as place,
            ):
                note_service(lock, str(place or ""))
                return _keep_running(service, aftermath, waker, heartbeat, env_path)


@contextmanager
def _listening(
    options: argparse.Namespace,
    env_path: str,
    announcer: Announcer,
    waker: Waker,
    heartbeat: Heartbeat,
) -> Iterator[Place | None]:
    """Listen while inside, where --listen says so; else judge what an earlier listener left."""
    if options.listen is None and not is_any_waiting(env_path):
        yield None
        return
    # Most services never listen: they are spared the rest.
    from broker_tokens.listener import judging_what_is_left, listening

    known: Any = {"environ": os.environ, "clock": system_clock}
    if options.listen is None:
        with judging_what_is_left(env_path, announcer, waker.wake, **known):
            yield None
        return
    known["heartbeat"] = heartbeat
    with listening(env_path, options.listen, announcer, waker.wake, **known) as place:
        log.info("Listening at %s for login redirects and approved tokens.", place)
        if not place.is_loopback:
            log.warning("Whoever reaches %s can talk to it in plain HTTP; see the README.", place)
        yield place


def _keep_running(
    service: TokenService, aftermath: Aftermath, waker: Waker, heartbeat: Heartbeat, env_path: str
) -> int:
    look = service.look()  # a wrong setting ends the start; later it is only reported
    log.info("Service started for %s (pid %s).", env_path, os.getpid())
    _log_start(look)
    if (warning := open_to_others(env_path)) is not None:
        log.warning("%s", warning)
    supervisor = Supervisor(os.environ)
    loop = Loop(
        service,
        system_clock,
        waker.wait,
        lambda: waker.stopping,
        look_after=aftermath.look_after,
        before_beat=heartbeat.beat,
        after_beat=supervisor.after_beat,
        longest_wait=supervisor.longest_wait(LONGEST_WAIT),
    )
    with suppress(Stopping):
        loop.run()
    supervisor.stopping()
    log.info("Service stopped.")
    return EXIT_OK


def _once(service: TokenService, aftermath: Aftermath, heartbeat: Heartbeat, *, force: bool) -> int:
    if force:
        code = _forced(service)
        heartbeat.beat_once()
        aftermath.look_after(service.look())
        return code
    outcome = service.tick()
    heartbeat.beat_once()  # not before: with a wrong setting it has not looked after anything
    aftermath.look_after(outcome.look)
    log.debug("%s", next_step(outcome.look).sentence(outcome.look.now))
    code = exit_code(outcome)
    if code != EXIT_OK:
        say(_why(outcome, code))
    return code


def _forced(service: TokenService) -> int:
    try:
        service.renew()
    except TokenError as error:
        look = service.look()
        if look.situation.is_live(look.now):
            say(f"{error_text(error)}\nThe stored token is kept; it is still live.")
            return EXIT_TEMPORARY
        raise
    return EXIT_OK


def exit_code(outcome: Outcome) -> int:
    """Return the exit code that a tick's outcome stands for."""
    look = outcome.look
    if look.situation.is_live(look.now):
        return EXIT_OK
    if outcome.error is not None:
        return outcome.error.exit_code
    if look.state.has_refused(look.settings.credentials_fingerprint):
        return EXIT_CONFIGURATION
    if look.needs_person:
        return EXIT_PERSON
    return EXIT_TEMPORARY if look.is_backing_off else EXIT_OK


def _why(outcome: Outcome, code: int) -> str:
    """Return what to tell the person who started `--once`."""
    if outcome.error is not None and outcome.error.exit_code == code:
        return error_text(outcome.error)
    if code == EXIT_PERSON:
        return error_text(_login_needed(outcome.look))
    failure = outcome.look.state.last_failure
    return failure.what if failure else "The last try failed; the next one comes by itself."


def _login_needed(look: Look) -> LoginRequired:
    return LoginRequired(
        "Token is expired or invalid: today's session needs a login.",
        "Log in: python init_tokens.py",
        login_url=look.login_url,
    )


@contextmanager
def _signals_to(waker: Waker) -> Iterator[None]:
    """Let SIGTERM and SIGINT end every wait at once, and SIGHUP cause a tick.

    Settings are read at every tick, so SIGHUP only brings the next one forward. A second SIGTERM
    ends the process even if a token request is under way.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- signal's signature
        waker.stopping = True
        signal.signal(number, signal.SIG_DFL)

    signal.set_wakeup_fd(waker.writer.fileno(), warn_on_full_buffer=False)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # noqa: ARG005 -- it only wakes
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)


def _log_start(look: Look) -> None:
    expires_at = look.situation.expires_at
    if expires_at is not None and look.situation.is_live(look.now):
        log.info("The stored token lives until %s.", format_ist(expires_at))
    else:
        log.info("No live token is stored.")

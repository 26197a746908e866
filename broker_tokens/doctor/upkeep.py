"""Who sees to the next token: a service or a scheduler, a person, and how that one is told."""

import importlib.util
import shutil
from collections.abc import Iterator

from broker_tokens import programs
from broker_tokens.clock import format_ist
from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, fail, ok, warn
from broker_tokens.errors import EXIT_PERSON
from broker_tokens.forecast import renewal_sentence
from broker_tokens.install.schedulers import described, removal
from broker_tokens.notices import channels, commands


def check_renewal(case: Case) -> Iterator[Finding]:
    """How the next token will come, and what a person must do for it."""
    if case.is_readable:
        yield ok("renewal", renewal_sentence(case.look))


def check_service(case: Case) -> Iterator[Finding]:
    """Whether somebody looks after this `.env`, and only one."""
    if case.env_path is None:
        return
    yield from _attendance(case)
    for each in case.schedulers:
        if each.is_active is False:
            yield warn("service", f"installed: {described(each)}", "Start and enable it.")
        elif each.missing:
            words = f"installed: {described(each)}; but it does not start with the machine"
            yield warn("service", words, each.missing)
        else:
            yield ok("service", f"installed: {described(each)}")
    if len(case.schedulers) > 1:
        yield warn(
            "service",
            f"{len(case.schedulers)} schedulers look after one .env; one is enough",
            f"Take one away: {removal(case.schedulers[-1], case.env_path)}",
        )


def _attendance(case: Case) -> Iterator[Finding]:
    """Who looks after it now: a service that looks each minute, or `--once` now and then."""
    seen, now = case.attendance, case.look.now
    last = f"last look {format_ist(seen.last_look)}" if seen.last_look else "no look yet"
    if seen.is_running and seen.last_look is not None and not seen.is_watched(now):
        yield fail(
            "service",
            f"process {seen.pid or 'unknown'} holds its place and hangs: {last}",
            "End that process; whatever started it starts it again, or you do.",
            EXIT_PERSON,
        )
    elif seen.is_running:
        where = f", and listens at {seen.listens_at}" if seen.listens_at else ""
        yield ok("service", f"process {seen.pid or 'unknown'} looks after this .env{where}")
    elif seen.is_watched(now):
        yield ok("service", f"--once looks after this .env, {last}")
    elif not any(each.is_active is not False for each in case.schedulers):
        words = "none looks after this .env, so nobody renews or asks"
        kind = case.surroundings.fitting_kind()
        yield warn("service", words, f"Install it: upstox-token install {kind} --apply")
    elif seen.last_look is not None:
        words = f"what is installed has not looked for long: {last}"
        yield warn("service", words, "See whether cron, the timer or the task runs, and its log.")


def check_failures(case: Case) -> Iterator[Finding]:
    """What went wrong last."""
    state = case.look.state
    if (failure := state.last_failure) is not None:
        words = f"{format_ist(failure.at)}: {failure.what}"
        is_over = not state.failures and state.last_renewal is not None
        yield ok("last failure", words) if is_over else warn("last failure", words)
    if (command := state.command_failure) is not None:
        yield warn("UPSTOX_ON_RENEW", f"failed {format_ist(command.at)}: {command.what}")


def check_notices(case: Case) -> Iterator[Finding]:
    """Whether the person is told, and whether the programs for it are there."""
    if not case.is_readable:
        return
    settings = case.look.settings
    schemes = [each.reveal().partition("://")[0] for each in settings.notify_urls]
    if settings.notify_command:
        schemes.append("a command of your own")
    if channels.is_any_configured(settings):
        yield ok("notices", f"through {', '.join(schemes)}; try: upstox-token notify --test")
    elif not case.look.situation.is_silent:
        yield warn(
            "notices",
            "nobody is told when a login is needed; only the log says it",
            "Set UPSTOX_NOTIFY_URLS or UPSTOX_NOTIFY_COMMAND (the README shows how).",
        )
    if settings.notify_urls and importlib.util.find_spec("apprise") is None:
        yield fail(
            "notices",
            "UPSTOX_NOTIFY_URLS is set, and the package apprise is not installed",
            "pip install -e '.[notify]'",
        )
    yield from _program("UPSTOX_NOTIFY_COMMAND", settings.notify_command, case)
    yield from _program("UPSTOX_ON_RENEW", settings.on_renew, case)


def _program(key: str, line: str, case: Case) -> Iterator[Finding]:
    """Whether the program of a command line is there; its arguments are the user's business."""
    if not line:
        return
    program = programs.split(line)[0]
    shown = commands.shown(program)
    if shutil.which(program, path=case.surroundings.environ.get("PATH")) is not None:
        yield ok(key, f"its program {shown!r} is there")
        return
    yield fail(
        key,
        f"its program {shown!r} is not found, or may not be executed",
        f"Name it with its whole path in {key}, and chmod +x it; it is no shell line.",
    )

"""`upstox-token`: everything besides the service and the first login."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from broker_tokens.app import build_service
from broker_tokens.attendance import attendance
from broker_tokens.cli import check, doctor, init, notify, plugin, run, status
from broker_tokens.cli.arguments import length
from broker_tokens.cli.output import answer, guarded, say
from broker_tokens.clock import format_ist
from broker_tokens.env_path import locate
from broker_tokens.errors import EXIT_OK
from broker_tokens.file_metadata import open_to_others
from broker_tokens.renewals.phone_approval import NOTIFIER_PATH, public_base
from broker_tokens.service import TokenService


def entry_point() -> None:
    """Run as the console command `upstox-token`."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    return guarded(lambda: command(options))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="upstox-token",
        description="Look after the Upstox access token in .env. All times are IST.",
        epilog="Exit codes: 0 fine; 2 wrong usage; 75 temporary, try again; 77 a person must act;"
        " 78 the configuration is wrong.",
    )
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    shown = _add(commands, "status", _status, "show the token, its end, and what comes next")
    forms = shown.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="for programs (format 1)")
    forms.add_argument(
        "--check",
        action="store_true",
        help="one line for Nagios and the like: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN",
    )
    token = _add(commands, "token", _token, "print a live access token, and nothing else")
    token.add_argument(
        "--min-valid",
        type=length,
        default=timedelta(0),
        metavar="10m",
        help="how long it must live at least (s, m or h)",
    )
    running = _add(
        commands, "run", run.run, "run a command that always has the live token in its environment"
    )
    run.add_arguments(running)
    renew = _add(commands, "renew", _renew, "renew with the refresh token now, whatever is due")
    renew.add_argument(
        "--phone", action="store_true", help="ask for approval on the phone instead, once more"
    )
    _add_login(commands)
    _add(commands, "check", check.run, "ask the broker whether the token works, and what for")
    examined = _add(commands, "doctor", doctor.run, "find what is wrong, and say how to mend it")
    doctor.add_arguments(examined)
    notifier = _add(
        commands, "notifier", _notifier, "print the notifier address to register at the broker"
    )
    notifier.add_argument(
        "--url",
        metavar="URL",
        help="public https address that leads to the service (default: that of the redirect URI)",
    )
    words = "send a test notice through every channel, or tell that a systemd unit has failed"
    notify.add_arguments(_add(commands, "notify", notify.run, words))
    _add(commands, "logout", _logout, "end the token at the broker and empty the tokens in .env")
    _add_install(commands)
    _add_simulator(commands)
    demo = commands.add_parser("demo", help="two trading days on the simulator, in seconds")
    demo.set_defaults(run=_demo)
    return made


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    action: Callable[[argparse.Namespace], int],
    words: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words.capitalize() + ".")
    parser.add_argument("--env-file", metavar="F", help="the .env (default: the nearest one)")
    parser.set_defaults(run=action)
    return parser


def _add_login(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser(
        "login",
        help="log in, as init_tokens.py does",
        parents=[init.parser()],
        add_help=False,
    ).set_defaults(run=init.run)


def _add_install(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from broker_tokens.cli import install

    words = "set up systemd, cron, launchd or Windows for this .env: shown first, done by --apply"
    install.add_arguments(_add(commands, "install", install.run, words))


def _add_simulator(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from broker_tokens.simulator import command

    words = "play Upstox on this machine, for trying things out"
    parser = commands.add_parser("simulate", help=words, description=words.capitalize() + ".")
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def _service(options: argparse.Namespace) -> TokenService:
    env_path = locate(options.env_file)
    return build_service(env_path, is_listening=bool(attendance(env_path).listens_at))


def _status(options: argparse.Namespace) -> int:
    if options.check:
        line, code = plugin.guarded(lambda: plugin.line_of(_report(options)))
        answer(line)
        return code
    report = replace(_report(options), schedulers=_schedulers(options))
    answer(status.as_json(report) if options.json else status.as_text(report))
    if (warning := open_to_others(locate(options.env_file))) is not None:
        say(warning)
    return status.exit_code(report)


def _report(options: argparse.Namespace) -> status.Report:
    env_path = locate(options.env_file)
    seen = attendance(env_path)
    look = build_service(env_path, is_listening=bool(seen.listens_at)).look()
    return status.Report(look, seen)


def _schedulers(options: argparse.Namespace) -> list[str]:
    from broker_tokens.install.machine import this_machine
    from broker_tokens.install.schedulers import described, find_schedulers

    found = find_schedulers(locate(options.env_file), this_machine())
    return [described(each) for each in found]


def _token(options: argparse.Namespace) -> int:
    answer(_service(options).current_token(options.min_valid).reveal())
    return EXIT_OK


def _renew(options: argparse.Namespace) -> int:
    if options.phone:
        return _ask_phone(options)
    tokens = _service(options).renew()
    assert tokens.expires_at is not None  # noqa: S101 -- just stored
    answer(f"Renewed: lives until {format_ist(tokens.expires_at)}.")
    return EXIT_OK


def _ask_phone(options: argparse.Namespace) -> int:
    service = _service(options)
    service.notifier_secret()
    if not attendance(locate(options.env_file)).listens_at:
        say("No service with --listen runs here: the approved token may find nobody to take it.")
    event = service.ask_phone()
    if event.goes_elsewhere:
        say(f"Upstox will send the token to {event.goes_elsewhere}, which is not this service.")
        say("Register the address that `upstox-token notifier` prints.")
    if not event.is_certain:
        say("Upstox's reply got lost: look at the phone before you ask again.")
    answer(f"Asked. Approve it on your phone, until {format_ist(event.expires_at)}.")
    return EXIT_OK


def _notifier(options: argparse.Namespace) -> int:
    service = _service(options)
    settings = service.look().settings
    redirect = urlsplit(settings.redirect_uri)
    base = public_base(options.url or f"{redirect.scheme}://{redirect.netloc}", settings.api_url)
    answer(f"{base}{NOTIFIER_PATH}{service.notifier_secret().reveal()}")
    say('Enter this as "Notifier Webhook Endpoint" of your app, and keep it to yourself:')
    say("https://account.upstox.com/developer/apps")
    say("It must lead to token_refresh_service.py --listen; the README shows nginx and Caddy.")
    return EXIT_OK


def _logout(options: argparse.Namespace) -> int:
    service = _service(options)
    service.log_out()
    answer(f"Logged out; the tokens in {service.look().env_path} are empty.")
    return EXIT_OK


def _demo(options: argparse.Namespace) -> int:  # noqa: ARG001 -- a command's signature
    from broker_tokens.cli.demo import run

    return run()

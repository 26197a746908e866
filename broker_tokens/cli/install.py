"""`upstox-token install`: the machine's own scheduler looks after the `.env`, by one command.

Only its arguments are here, as every other command reads them, too.
"""

import argparse

from broker_tokens.install import DEFAULT_NAME, KIND_NAMES
from broker_tokens.place import parse_place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `install`."""
    parser.add_argument("kind", choices=KIND_NAMES, metavar="KIND", help=" | ".join(KIND_NAMES))
    deed = parser.add_mutually_exclusive_group()
    deed.add_argument("--apply", action="store_true", help="install and start it")
    deed.add_argument("--uninstall", action="store_true", help="stop it and leave nothing of it")
    parser.add_argument(
        "--system", action="store_true", help="for the whole machine, as the owner of the .env"
    )
    parser.add_argument(
        "--listen",
        type=_listen,
        metavar="HOST:PORT",
        help="have the service listen there (systemd only)",
    )
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help=f"what it is called; a second .env needs another (default: {DEFAULT_NAME})",
    )


def _listen(text: str) -> str:
    try:
        return str(parse_place(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> int:
    """Show what would be done, or do it; returns the exit code."""
    from broker_tokens.cli import installing
    from broker_tokens.install.machine import this_machine

    return installing.run(options, this_machine())

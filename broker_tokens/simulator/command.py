"""`upstox-token simulate`: a practice broker in a terminal.

Standard output carries the lines for a `.env` and nothing else; talk goes to standard error.
"""

import argparse
import errno
import math
import re
import sys
from contextlib import suppress
from datetime import datetime
from urllib.parse import urlsplit

from broker_tokens.clock import IST, Clock, system_clock
from broker_tokens.simulator.approvals import post
from broker_tokens.simulator.broker import Endpoint, Recorded, RefreshGrant, SimulatedUpstox
from broker_tokens.simulator.pace import AcceleratedClock
from broker_tokens.simulator.phone import approve_later
from broker_tokens.simulator.server import SimulatorServer
from broker_tokens.simulator.stop import StopSignal

# EX_TEMPFAIL of sysexits.h, which the os module lacks on Windows.
EXIT_TEMPORARY = 75

DEFAULT_PORT = 8787

# A day in each real second; far faster, the clock soon runs past the year 9999.
MAX_SPEED = 86_400

# What every reader of `.env` files takes unquoted, plus what an address is made of.
PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.:+/?&=%~-]+")

KNOWN_GRANTS = ("authorization_code", "refresh_token")

LABELS = {
    Endpoint.DIALOG: "login dialog",
    Endpoint.TOKEN: "token request",
    Endpoint.PROFILE: "profile",
    Endpoint.LTP: "last traded price",
    Endpoint.LOGOUT: "logout",
    Endpoint.ORDER: "order",
    Endpoint.FEED: "feed authorization",
    Endpoint.APPROVAL: "request for approval",
    Endpoint.HOLIDAYS: "holidays",
    Endpoint.TIMINGS: "market timings",
    Endpoint.UNKNOWN: "unknown address",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `upstox-token simulate`."""
    add = parser.add_argument
    add(
        "--port",
        type=port_number,
        default=DEFAULT_PORT,
        help="default %(default)s; 0 takes any free one",
    )
    add(
        "--refresh",
        choices=[grant.value for grant in RefreshGrant],
        default=RefreshGrant.OFF.value,
        help="default off: Upstox documents no refresh tokens",
    )
    add("--at", type=ist_time, metavar="TIME", help="IST time to start at (default: now)")
    add(
        "--speed",
        type=speed,
        default=1.0,
        help="simulated seconds in each real second (default: 1)",
    )
    add("--client-id", type=plain_value, default="sim-client")
    add("--client-secret", type=plain_value, default="sim-secret")
    add("--redirect-uri", type=plain_value, default="http://localhost:3000/callback")
    add("--opaque-tokens", action="store_true", help="tokens that are no JWTs")
    add(
        "--notifier-url",
        type=plain_value,
        metavar="URL",
        help="where an approved token is sent: what `upstox-token notifier` prints",
    )
    add(
        "--approve-after",
        type=seconds,
        metavar="SECONDS",
        help="approve each request by itself; without it, POST to /simulator/approve or /reject",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    broker = simulated_broker(arguments)
    # Before the first line is printed: whoever reads it may send a signal at once.
    with StopSignal() as stop:
        try:
            server = SimulatorServer(broker, port=arguments.port)
        except OSError as error:
            say(port_trouble(arguments.port, error))
            return EXIT_TEMPORARY
        with server:
            now = broker.clock().astimezone(IST)
            say(f"Simulated Upstox at {server.url}, {now:%Y-%m-%d %H:%M:%S} IST.")
            sys.stdout.write(env_lines(server.url, arguments))
            sys.stdout.flush()
            stop.wait()
    return 0


def simulated_broker(arguments: argparse.Namespace) -> SimulatedUpstox:
    """Return the broker that the options describe; it says on standard error what it does."""
    clock: Clock = AcceleratedClock(arguments.at or system_clock(), arguments.speed)

    def answered(record: Recorded) -> None:
        say(describe(record))
        if arguments.approve_after is not None:
            approve_later(broker, record, arguments.approve_after)

    def deliver(url: str, body: bytes) -> int:
        status = post(url, body)
        # Not the address's path: it holds the part that nobody shall guess.
        place = urlsplit(url).netloc
        say(f"{clock().astimezone(IST):%H:%M:%S} webhook to {place}: {status or 'no answer'}")
        return status

    broker = SimulatedUpstox(
        clock,
        client_id=arguments.client_id,
        client_secret=arguments.client_secret,
        redirect_uri=arguments.redirect_uri,
        refresh=RefreshGrant(arguments.refresh),
        opaque_tokens=arguments.opaque_tokens,
        on_request=answered,
        notifier_url=arguments.notifier_url or "",
        deliver=deliver,
    )
    return broker


def env_lines(url: str, arguments: argparse.Namespace) -> str:
    """Return what to put in a `.env` to talk to this simulator."""
    return (
        f"UPSTOX_API_URL={url}\n"
        f"UPSTOX_CLIENT_ID={arguments.client_id}\n"
        f"UPSTOX_CLIENT_SECRET={arguments.client_secret}\n"
        f"UPSTOX_REDIRECT_URI={arguments.redirect_uri}\n"
    )


def describe(record: Recorded) -> str:
    """Return one line about a request, free of anything the client typed."""
    what = LABELS[record.endpoint]
    if record.endpoint is Endpoint.TOKEN:
        grant = record.form.get("grant_type", "none")
        what += f" ({grant if grant in KNOWN_GRANTS else 'no known grant'})"
    outcome = f"{record.status} {record.error_code}".rstrip()
    return f"{record.at.astimezone(IST):%H:%M:%S} {what}: {outcome}"


def port_trouble(port: int, error: OSError) -> str:
    """Return why the port cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use: choose another with --port, or --port 0 for any free one."
    return f"Port {port} cannot be opened ({error.strerror}): choose another with --port."


def say(line: str) -> None:
    """Write a line to standard error; a terminal that went away stops nothing."""
    # AttributeError: where standard error is closed from the start, sys.stderr is None.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def port_number(text: str) -> int:
    """Read a TCP port."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)


def ist_time(text: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is IST, whatever the host's zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=IST) if moment.tzinfo is None else moment.astimezone(IST)
    except (ValueError, OverflowError):
        message = f"{text!r} is no time like 2026-11-20T01:55"
        raise argparse.ArgumentTypeError(message) from None


def speed(text: str) -> float:
    """Read how many simulated seconds pass in a real one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_SPEED:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: a number from 0 to {MAX_SPEED}")
    return value


def seconds(text: str) -> float:
    """Read how long the person takes to reach for the phone, in real seconds."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def plain_value(text: str) -> str:
    """Read a value that a `.env` file can hold without quotes."""
    if not PLAIN_VALUE.fullmatch(text):
        raise argparse.ArgumentTypeError("only letters, digits and _.:+/?&=%~- are possible")
    return text

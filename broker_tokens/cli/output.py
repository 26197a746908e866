"""What a command prints, and the one place where an error becomes text and exit code."""

import errno
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_DEFECT, LoginRequired, TokenError
from broker_tokens.secrets import redact
from broker_tokens.waker import Stopping

_EXIT_INTERRUPTED = 130  # what shells say of a program ended by Ctrl-C


def say(text: str) -> None:
    """Talk to the person: standard error, so that standard output stays the answer alone."""
    _write(sys.stderr, redact(text))


def answer(text: str) -> None:
    """Give the command's answer on standard output."""
    _write(sys.stdout, text)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # pythonw.exe, for Task Scheduler, has none
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        if error.errno == errno.EINVAL:  # what Windows says of a pipe that nobody reads any more
            raise BrokenPipeError from None
        raise


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; every error is one for people."""
    for stream in (sys.stdout, sys.stderr):
        # A Windows console may know less than UTF-8; a wrong character must not end a login.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    _leave_no_core()
    try:
        return command()
    except TokenError as error:
        say(error_text(error))
        return error.exit_code
    except (KeyboardInterrupt, Stopping):
        say("Stopped.")
        return _EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "?").partition(".")[0]
        say(f"The package {package} is not installed for {sys.executable}.")
        say("Activate the virtual environment (. .venv/bin/activate), or: pip install .")
        return EXIT_CONFIGURATION
    except BrokenPipeError:
        if sys.stderr is not None:
            sys.stderr.close()
        return EXIT_DEFECT
    except Exception as error:
        logging.getLogger(__name__).debug("The defect in full:", exc_info=True)
        say(f"A defect of this program: {type(error).__name__} in {_place(error)}.")
        say("Please report it with this line.")
        return EXIT_DEFECT


def _leave_no_core() -> None:
    """Have a crash leave no image of the memory, which holds the secrets (core(5))."""
    if sys.platform != "win32":
        import resource

        # A sandbox may forbid it; one that does has a limit of its own.
        with suppress(OSError, ValueError):
            _, most = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def error_text(error: TokenError) -> str:
    """Return an error as it is shown: the cause, then what to do, then where to log in."""
    lines = [error.cause, error.advice]
    if isinstance(error, LoginRequired) and error.login_url:
        lines.append(f"Login address: {error.login_url}")
    return "\n".join(line for line in lines if line)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"

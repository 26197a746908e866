"""`init_tokens.py`: the login at a keyboard, in a browser here or anywhere, or a token pasted."""

import argparse
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence

from broker_tokens.app import build_service
from broker_tokens.attendance import attendance
from broker_tokens.cli.output import answer, guarded, say
from broker_tokens.clock import format_duration, format_ist
from broker_tokens.env_path import locate
from broker_tokens.errors import EXIT_OK, EXIT_USAGE, LoginRequired, TemporaryFailure, TokenError
from broker_tokens.file_metadata import open_to_others
from broker_tokens.forecast import renewal_sentence
from broker_tokens.look import Look
from broker_tokens.renewals.browser_login import LOGIN_LIMIT, RedirectCatcher, can_catch
from broker_tokens.renewals.code_exchange import read_code, state_of
from broker_tokens.renewals.login_link import check_state, is_link_state, new_state
from broker_tokens.secrets import Secret
from broker_tokens.service import TokenService

# A pasted redirect address has a few hundred characters, a token about 400.
_LONGEST_LINE = 16_384


def main(arguments: Sequence[str] | None = None) -> int:
    """Log in once and store the token; returns the exit code."""
    options = parser().parse_args(arguments)
    return guarded(lambda: run(options))


def parser(program: str = "init_tokens.py") -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog=program,
        description="Log in to Upstox and store the access token in .env.",
        epilog="Exit codes: 0 stored; 75 temporary, try again; 77 the code, token or account is"
        " refused; 78 the configuration is wrong.",
    )
    made.add_argument(
        "--no-browser",
        action="store_true",
        help="print the link and take the pasted code or redirect address",
    )
    made.add_argument(
        "--paste-token",
        action="store_true",
        help="take a ready access token, from the keyboard or a pipe",
    )
    made.add_argument("--env-file", metavar="F", help="the .env (default: the nearest one)")
    made.add_argument("unexpected", nargs="*", help=argparse.SUPPRESS)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what the parsed `options` say."""
    if options.unexpected:
        # Not argparse's own error, which would repeat what may be a token or a code.
        say("A token or code is not given on the command line, where others can see it.")
        say("Start without it, and paste it when asked.")
        return EXIT_USAGE
    env_path = locate(options.env_file)
    service = build_service(
        env_path,
        need_credentials=not options.paste_token,
        is_listening=bool(attendance(env_path).listens_at),
    )
    service.look()  # a wrong setting shows before anyone logs in
    service.check_writable()
    if options.paste_token:
        say("Paste the access token and press Enter:")
        service.accept_pasted(_read_token())
    else:
        _log_in(service, env_path, use_browser=not options.no_browser and _has_browser(os.environ))
    _report(service, env_path)
    return EXIT_OK


def _log_in(service: TokenService, env_path: str, *, use_browser: bool) -> None:
    look = service.look()
    state = _new_state(look)
    address = look.broker.authorization_url(state)
    listens_at = attendance(env_path).listens_at
    if use_browser and can_catch(look.settings.redirect_uri):
        try:
            catcher = RedirectCatcher(look.settings.redirect_uri, state)
        except TemporaryFailure as error:
            if not listens_at:
                say(f"{error.cause} So the answer has to be pasted.")
        else:
            _log_in_here(service, catcher, address)
            return
    _log_in_anywhere(service, address, state, listens_at)


def _new_state(look: Look) -> str:
    """Return a state for this login; one that a listening service knows as ours, if it can be."""
    key = look.settings.notifier_secret
    return secrets.token_urlsafe(24) if key is None else new_state(key, look.now + LOGIN_LIMIT)


def _log_in_here(service: TokenService, catcher: RedirectCatcher, address: str) -> None:
    with catcher:
        say(f"Log in to Upstox in the browser. If none opens, open this address:\n\n  {address}\n")
        # In a thread: some browsers hold the call until they are closed, and they wait for us.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        minutes = int(LOGIN_LIMIT.total_seconds() // 60)
        say(f"Waiting up to {minutes} minutes for the login ...")
        code = catcher.wait()
        try:
            service.exchange_code(code)
        except TokenError as error:
            catcher.finish(f"{error.cause} Look at the terminal.")
            raise
        catcher.finish("Successfully authenticated with Upstox! You can close this page.")


def _log_in_anywhere(service: TokenService, address: str, state: str, listens_at: str) -> None:
    say(f"Open this address in a browser, on any device, and log in:\n\n  {address}\n")
    if listens_at:
        say(f"The running service listens at {listens_at} and may take the answer itself.")
        say("If the page you come back to says so, press Enter here. Else:")
    else:
        say("The page you come back to may fail to load; that is normal: its address counts.")
    say("Paste that whole address here, or the code in it, and press Enter:")
    before = service.look().state.last_renewal
    line = _line()
    if not line and listens_at and service.look().state.last_renewal != before:
        return  # the service has taken the answer
    service.exchange_code(_code_in(line, state, service.look()))


def _code_in(line: str, state: str, look: Look) -> Secret:
    """Return the code in a pasted line; of this login, or of a link that the service sent out."""
    if not line:
        raise _nothing_pasted()
    key, found = look.settings.notifier_secret, state_of(line)
    if key is not None and found is not None and is_link_state(key, found):
        check_state(key, found, look.now, look.state.spent_codes)
        return read_code(line, found)
    return read_code(line, state)


def _read_line() -> str:
    """Return one line from the keyboard or a pipe; raises LoginRequired if there is none."""
    line = _line()
    if not line:
        raise _nothing_pasted()
    return line


def _line() -> str:
    # pythonw.exe has no standard input; a pipe of PowerShell may begin with a byte order mark.
    return sys.stdin.readline(_LONGEST_LINE).strip().strip("\ufeff").strip() if sys.stdin else ""


def _nothing_pasted() -> LoginRequired:
    return LoginRequired("Nothing was pasted.", "Start again: python init_tokens.py")


def _read_token() -> Secret:
    """Return the pasted token; `access_token=...` and `Bearer ...` are taken for what is meant."""
    line = _read_line().removeprefix("access_token=").removeprefix("Bearer ").strip("'\" ")
    token = Secret(line)
    if "://" in line:
        raise LoginRequired(
            "What was pasted is an address, not an access token.",
            "Paste it without --paste-token: python init_tokens.py --no-browser",
        )
    if not token.is_well_formed:
        raise LoginRequired(
            "What was pasted is no access token: it has blanks or is empty.",
            "Copy the token again, whole: python init_tokens.py --paste-token",
        )
    return token


def _has_browser(environ: Mapping[str, str]) -> bool:
    """Whether a window could open here; text browsers cannot show Upstox's login."""
    if sys.platform in ("win32", "darwin"):
        return True
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    return any(environ.get(name) for name in wanted)


def _report(service: TokenService, env_path: str) -> None:
    """Say what was stored, until when it lives, and how the next one will come."""
    look = service.look()
    token, expires_at = look.tokens.access_token, look.tokens.expires_at
    assert token is not None and expires_at is not None  # noqa: S101, PT018 -- just stored
    left = format_duration(expires_at - look.now)
    answer(f"Stored in {env_path}: access token, fingerprint {token.fingerprint}.")
    answer(f"Account: {look.tokens.user_id or 'not told by the broker'}.")
    answer(f"It lives until {format_ist(expires_at)}, for {left}.")
    answer(f"A refresh token is {'stored too' if look.tokens.refresh_token else 'not stored'}.")
    answer(renewal_sentence(look))
    if (warning := open_to_others(env_path)) is not None:
        say(warning)
    _report_check(look, token)


def _report_check(look: Look, token: Secret) -> None:
    """Show the live check, which comes after the write: it can only inform, not undo."""
    try:
        price = look.broker.last_price(token)
    except TokenError as error:
        say(f"The live check gave no answer: {error.cause}")
    else:
        answer(f"Token is valid and working! NIFTY 50: {price:,.2f}")

"""The last step of a login: an authorization code, sent once and never again."""

from urllib.parse import parse_qs, urlsplit

from broker_tokens.brokers import UselessReply
from broker_tokens.errors import TemporaryFailure, TokenRejected
from broker_tokens.look import Look
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.store import REFRESH_TOKEN, Writer

START_AGAIN = "Start the login again: python init_tokens.py"


def exchange(writer: Writer, look: Look, code: Secret, link: Secret | None = None) -> TokenReply:
    """Spend `code`, once the `.env` is proven writable and the code is noted as sent.

    The broker counts a code as used whether or not the exchange succeeds (Upstox docs, Get Token),
    so the note is on disk before the request leaves, and taken back only if it certainly did not.
    The `link` by which it came, if one of ours, is noted with it.
    """
    if code.fingerprint in look.state.spent_codes:
        raise TokenRejected("This code was sent before, and a code works only once.", START_AGAIN)
    look.broker.authorization_url()  # raises without credentials, with nothing spent
    writer.prove_writable()
    spent = look.state.with_spent(code.fingerprint, *([link.fingerprint] if link else []))
    writer.save_state(spent)
    try:
        return look.broker.exchange_code(code)
    except UselessReply as error:
        if error.refresh_token is not None:
            writer.save_tokens({REFRESH_TOKEN: error.refresh_token.reveal()}, spent)
        raise
    except TemporaryFailure as error:
        if not error.request_sent:
            writer.save_state(look.state)
            advice = (
                "The code was not sent: start again and paste it, alone, within a minute or two."
            )
            raise TemporaryFailure(error.cause, advice, request_sent=False) from None
        advice = f"The code counts as used now. {START_AGAIN}"
        raise TemporaryFailure(error.cause, advice, retry_after=error.retry_after) from None


def read_code(text: str, expected_state: str | None = None) -> Secret:
    """Return the code in what a person pasted: the bare code or the whole redirect address.

    Raises TokenRejected if it is empty, a refusal (`error=`), or belongs to another login.
    """
    query = _query_of(text)
    if query is None:
        return _checked(_cleaned(text))
    return code_from_query(query, expected_state, state_needed=False)


def state_of(text: str) -> str | None:
    """Return the state in a pasted redirect address, None if there is none."""
    query = _query_of(text) or {}
    return query["state"][0] if "state" in query else None


def _query_of(text: str) -> dict[str, list[str]] | None:
    """Return the query of a redirect address, None if `text` is a bare code."""
    text = _cleaned(text)
    if "code=" not in text and "error=" not in text and "://" not in text:
        return None
    return parse_qs(urlsplit(text).query or text.partition("?")[2] or text)


def _cleaned(text: str) -> str:
    return text.strip().strip("'\"")


def code_from_query(
    query: dict[str, list[str]], expected_state: str | None, *, state_needed: bool
) -> Secret:
    """Return the code of a redirect's query (RFC 6749 section 4.1.2); raises as `read_code`."""
    state = query.get("state", [None])[0]
    is_checked = expected_state is not None and (state_needed or state is not None)
    if is_checked and Secret(state or "") != Secret(expected_state or ""):
        raise TokenRejected(
            "The redirect address belongs to another login (its state is not ours).", START_AGAIN
        )
    if "error" in query:
        reason = "access_denied" if query["error"][0] == "access_denied" else "an error"
        raise TokenRejected(f"The login was refused ({reason}).", START_AGAIN)
    return _checked(query.get("code", [""])[0])


def _checked(code: str) -> Secret:
    secret = Secret(code)
    if not code:
        raise TokenRejected("No code was given.", START_AGAIN)
    if not secret.is_well_formed:
        raise TokenRejected("What was pasted is no code and no redirect address.", START_AGAIN)
    return secret

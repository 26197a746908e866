"""The last step of a login: an authorization code, sent once and never again."""

from urllib.parse import parse_qs, urlsplit

from broker_tokens.brokers import UselessReply
from broker_tokens.errors import TemporaryFailure, TokenRejected
from broker_tokens.look import Look
from broker_tokens.model import TokenReply
from broker_tokens.secrets import Secret
from broker_tokens.store import REFRESH_TOKEN, Writer

START_AGAIN = "Start the login again: python init_tokens.py"


def exchange(writer: Writer, look: Look, code: Secret) -> TokenReply:
    """Spend `code`, once the `.env` is proven writable and the code is noted as sent.

    The broker counts a code as used whether or not the exchange succeeds (Upstox docs, Get Token),
    so the note is on disk before the request leaves, and taken back only if it certainly did not.
    """
    if code.fingerprint in look.state.spent_codes:
        raise TokenRejected("This code was sent before, and a code works only once.", START_AGAIN)
    look.broker.authorization_url()  # raises without credentials, with nothing spent
    writer.prove_writable()
    writer.save_state(look.state.with_spent_code(code.fingerprint))
    try:
        return look.broker.exchange_code(code)
    except UselessReply as error:
        if error.refresh_token is not None:
            state = look.state.with_spent_code(code.fingerprint)
            writer.save_tokens({REFRESH_TOKEN: error.refresh_token.reveal()}, state)
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
    text = text.strip().strip("'\"")
    if "code=" not in text and "error=" not in text and "://" not in text:
        return _checked(text)
    query = parse_qs(urlsplit(text).query or text.partition("?")[2] or text)
    return code_from_query(query, expected_state, state_needed=False)


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

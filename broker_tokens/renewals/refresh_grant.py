"""Renewal without a person: the refresh grant of RFC 6749 section 6.

Upstox documents no such grant. It is used by whoever has been given a refresh token; once the
broker refuses one, that is final for it, and the ways with a person take over.
"""

from broker_tokens.errors import LoginRequired, StoreError, TokenError
from broker_tokens.look import Look
from broker_tokens.model import TokenReply
from broker_tokens.renewals.setbacks import Jitter, record
from broker_tokens.store import Writer


def renew(writer: Writer, look: Look, jitter: Jitter) -> TokenReply:
    """Spend the stored refresh token, once the `.env` is proven writable.

    Raises LoginRequired without one. A failure is recorded in the state before it is raised.
    """
    refresh_token = look.tokens.refresh_token
    if refresh_token is None:
        raise LoginRequired(
            "Refresh token not found: UPSTOX_REFRESH_TOKEN is empty, as Upstox issues none by its"
            " documents, so a person has to log in.",
            "Log in: python init_tokens.py",
            login_url=look.login_url,
        )
    look.broker.authorization_url()  # raises without credentials, with nothing spent
    writer.prove_writable()
    try:
        return look.broker.refresh(refresh_token)
    except StoreError:
        raise
    except TokenError as error:
        record(writer, look, error, jitter, spent=refresh_token)
        raise

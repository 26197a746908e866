"""The redirect's address: completes a login that was begun on any device, by one of our links."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from urllib.parse import parse_qs

from broker_tokens.clock import format_ist
from broker_tokens.errors import TemporaryFailure, TokenError, TokenRejected
from broker_tokens.look import Look
from broker_tokens.model import StoredTokens
from broker_tokens.renewals.code_exchange import code_from_query
from broker_tokens.renewals.login_link import check_state
from broker_tokens.secrets import Secret
from broker_tokens.waker import Stopping
from broker_tokens.web.http_values import WebReply, WebRequest
from broker_tokens.web.pages import login_page

log = logging.getLogger(__name__)

# Pages that a reload or the back button shows again; a day has one or two.
_REMEMBERED = 20

_MOST_FIELDS = 20

# How long a reload waits for the exchange that the first request began, in seconds.
_EXCHANGE_SECONDS = 30

Page = tuple[int, str]


class Redirects:
    """Takes the browser that comes back from the broker."""

    def __init__(
        self,
        look: Callable[[], Look],
        exchange: Callable[[Secret, Secret], StoredTokens],
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        """`look` is called for each visitor; `exchange` spends a code and stores what it brings.

        It is handed the link's state too, and checks it again.
        """
        self._look = look
        self._exchange = exchange
        self._on_accepted = on_accepted
        self._guard = threading.Lock()
        self._pages: OrderedDict[str, Future[Page]] = OrderedDict()

    def receive(self, request: WebRequest) -> WebReply:
        """Answer a GET of the redirect's address; a reload shows the same page again."""
        try:
            query = parse_qs(request.query, max_num_fields=_MOST_FIELDS)
        except ValueError:
            return WebReply.html(400, login_page("This is no answer of Upstox."))
        state = Secret(query.get("state", [""])[0])
        page, is_first = self._page_for(state)
        if is_first:
            self._complete(page, query, state)
        try:
            status, words = page.result(_EXCHANGE_SECONDS)
        except TimeoutError:
            status, words = 504, "Upstox has not answered yet. Reload this page in a minute."
        return WebReply.html(status, login_page(words))

    def _page_for(self, state: Secret) -> tuple[Future[Page], bool]:
        with self._guard:
            page = self._pages.get(state.fingerprint)
            if page is not None:
                return page, False
            page = Future()
            self._pages[state.fingerprint] = page
            for settled in [key for key, each in self._pages.items() if each.done()][:-_REMEMBERED]:
                del self._pages[settled]
            return page, True

    def _complete(self, page: Future[Page], query: dict[str, list[str]], state: Secret) -> None:
        """Settle the page; only a login that is over for good is remembered."""
        try:
            tokens = self._log_in(query, state)
        except TokenError as error:
            self._forget(state)
            page.set_result((400, f"{error.cause} {self._advice(error)}"))
        except Stopping:
            self._forget(state)
            page.set_result(
                (503, "The service is just being stopped. Reload this page in a minute.")
            )
        except Exception:
            self._forget(state)
            log.exception("A defect while completing a login.")
            page.set_result((500, "A defect of the service; its log has the details."))
        else:
            page.set_result((200, _success_words(tokens)))
            self._on_accepted()

    def _log_in(self, query: dict[str, list[str]], state: Secret) -> StoredTokens:
        look = self._look_or_excuse()
        key = look.settings.notifier_secret
        if key is None:
            raise TokenRejected("No login was begun here.", "Log in: python init_tokens.py")
        check_state(key, state.reveal(), look.now, look.state.spent_codes)
        return self._exchange(code_from_query(query, None, state_needed=False), state)

    def _look_or_excuse(self) -> Look:
        """Return a look; what is wrong with the files is for the log, not for a stranger."""
        try:
            return self._look()
        except TokenError:
            raise TemporaryFailure(
                "The service cannot read its settings at the moment.",
                "Its log says why. Mend it, then reload this page.",
            ) from None

    def _advice(self, error: TokenError) -> str:
        """Return what to do; nothing, where an old page is opened again and a token is there."""
        try:
            look = self._look()
        except TokenError:
            return error.advice
        expires_at = look.tokens.expires_at
        if look.situation.is_live(look.now) and expires_at is not None:
            until = format_ist(expires_at)
            return f"A live token is stored, until {until}: nothing needs to be done."
        return error.advice

    def _forget(self, state: Secret) -> None:
        with self._guard:
            self._pages.pop(state.fingerprint, None)


def _success_words(tokens: StoredTokens) -> str:
    until = f" It lives until {format_ist(tokens.expires_at)}." if tokens.expires_at else ""
    return (
        "Successfully authenticated with Upstox! The token is stored."
        f"{until} You can close this page."
    )

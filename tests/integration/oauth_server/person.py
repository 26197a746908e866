"""The person at the browser: logs in, consents, and is sent back to the application."""

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

MAX_PAGES = 20
TIMEOUT = 30


class _Form(HTMLParser):
    """The first form of a page: where it goes and the fields it sends."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.method = "get"
        self.fields: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self._inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self._inside = True
            self.action = given.get("action", "")
            self.method = given.get("method", "get").lower()
        elif tag == "input" and self._inside and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")
            self.types[given["name"]] = given.get("type", "text").lower()

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False

    def filled_in(self, login: str) -> dict[str, str]:
        typed = {"text": login, "password": "any password"}
        return {name: typed.get(self.types[name], value) for name, value in self.fields.items()}


def log_in(authorization_url: str, login: str = "AB1234") -> str:
    """Walks the login and consent forms; the address the server sends the person back to.

    That address is not fetched: the caller hands it to whoever waits for it.
    """
    server = urlsplit(authorization_url)[:2]
    with requests.Session() as browser:
        browser.trust_env = False  # a server on this machine: no proxies
        answer = browser.get(authorization_url, allow_redirects=False, timeout=TIMEOUT)
        for _ in range(MAX_PAGES):
            if answer.is_redirect:
                address = urljoin(answer.url, answer.headers["Location"])
                if urlsplit(address)[:2] != server:
                    return address
                answer = browser.get(address, allow_redirects=False, timeout=TIMEOUT)
            else:
                answer = _send_form(browser, answer, login)
    raise RuntimeError(f"still no redirect to the application after {MAX_PAGES} pages")


def _send_form(browser: requests.Session, page: requests.Response, login: str) -> requests.Response:
    form = _Form(page.text)
    if not page.ok or form.action is None or form.method != "post":
        raise RuntimeError(f"no form to fill in ({page.status_code}): {page.text}")
    return browser.post(
        urljoin(page.url, form.action),
        data=form.filled_in(login),
        allow_redirects=False,
        timeout=TIMEOUT,
    )

"""`init_tokens.py` as a person runs it: in a terminal, over a pipe, and with a browser."""

import os
import pty
import re
import socket
import sys
from urllib.parse import urlencode

import pytest
import requests
from support.doors import INIT, LTP, PASTE, PROFILE, TOKEN, code_of, consent, free_port, get
from support.scripted_upstox import Hang

from broker_tokens.simulator.wire import Response

NO_BROWSER = (*INIT, "--no-browser")

# A browser as webbrowser starts one: it is given the address and follows the redirects.
BROWSER = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(sys.argv[1], timeout=10).read()
"""

ADDRESS = re.compile(r"https?://\S+/v2/login/authorization/dialog\?\S+")


def address_shown(running):
    """Wait for the login address, and return it."""
    return ADDRESS.search(running.wait_for("/v2/login/authorization/dialog?")).group()


def test_whole_redirect_address(doors):
    """The pasted redirect address brings a token; the person hears what, how long, what next."""
    with doors.start(*NO_BROWSER) as running:
        running.type(consent(address_shown(running)))
        ended = running.wait()

    token = doors.values["access_token"]
    assert ended.code == 0
    assert doors.broker.is_live(token)
    assert doors.values["UPSTOX_USER_ID"] == "SIM001"
    assert "Stored in" in ended.out
    assert re.search(r"fingerprint [0-9a-f]{8}\b", ended.out)
    assert "03:30 IST" in ended.out
    assert "needs a login by you" in ended.out
    assert "Token is valid and working!" in ended.out
    assert doors.values["UPSTOX_TOKEN_EXPIRES_AT"].endswith("+05:30")


def test_bare_code(doors):
    """The code alone does as well."""
    with doors.start(*NO_BROWSER) as running:
        running.type(code_of(consent(address_shown(running))))
        ended = running.wait()

    assert ended.code == 0
    assert doors.broker.is_live(doors.values["access_token"])


def test_a_refresh_token_is_told(rotating):
    """Where a refresh token comes, it is stored, and the person hears of silent renewal."""
    with rotating.start(*NO_BROWSER) as running:
        running.type(consent(address_shown(running)))
        ended = running.wait()

    assert ended.code == 0
    assert rotating.values["UPSTOX_REFRESH_TOKEN"]
    assert "silently" in ended.out
    assert "refresh token is stored" in ended.out


def test_at_a_terminal(doors):
    """A line typed at a terminal is read as one from a pipe."""
    keyboard, terminal = pty.openpty()
    try:
        with doors.start(*NO_BROWSER, stdin=terminal) as running:
            os.write(keyboard, consent(address_shown(running)).encode() + b"\n")
            ended = running.wait()
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert ended.code == 0
    assert doors.broker.is_live(doors.values["access_token"])


def test_env_file_elsewhere(doors, tmp_path_factory):
    """`--env-file` names the file, whatever the working directory."""
    address = consent(doors.manager().get_authorization_url())
    folder = tmp_path_factory.mktemp("elsewhere")
    ended = doors.run(
        *NO_BROWSER, "--env-file", str(doors.env_file), stdin=address + "\n", folder=folder
    )

    assert ended.code == 0
    assert list(folder.iterdir()) == []


def redirect(doors, **query):
    return f"{doors.redirect_uri}?{urlencode(query)}"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"code": "abc123", "state": "not-ours"}, "another login"),
        ({"error": "access_denied"}, "access_denied"),
        ({"state": "not-ours", "error": "access_denied"}, "another login"),
    ],
)
def test_a_redirect_that_brings_nothing(doors, query, sentence):
    """A wrong state and a refusal are said in one sentence, and nothing is sent."""
    before = doors.env_file.read_bytes()
    ended = doors.run(*NO_BROWSER, stdin=redirect(doors, **query) + "\n")

    assert ended.code == 77
    assert sentence in ended.err
    assert ended.out == ""
    assert doors.broker.count(TOKEN) == 0
    assert doors.env_file.read_bytes() == before


@pytest.mark.parametrize("pasted", ["", "\n", "   \n", "two words\n", "http://localhost/?x=1\n"])
def test_nothing_that_could_be_a_code(doors, pasted):
    """Empty input and text that is no code send nothing and ask to start again."""
    before = doors.env_file.read_bytes()
    ended = doors.run(*NO_BROWSER, stdin=pasted)

    assert ended.code == 77
    assert "init_tokens.py" in ended.err
    assert doors.broker.count(TOKEN) == 0
    assert doors.env_file.read_bytes() == before


def test_a_wrong_code(doors):
    """A code that the broker does not know is refused in one sentence."""
    before = doors.env_file.read_bytes()
    ended = doors.run(*NO_BROWSER, stdin="zzz999\n")

    assert ended.code == 77
    assert "wrong, used or too old" in ended.err
    assert doors.env_file.read_bytes() == before


def test_a_used_code(doors):
    """A code used before is not even sent again."""
    address = consent(doors.manager().get_authorization_url())
    assert doors.run(*NO_BROWSER, stdin=address + "\n").code == 0
    before = doors.env_file.read_bytes()
    ended = doors.run(*NO_BROWSER, stdin=address + "\n")

    assert ended.code == 77
    assert "only once" in ended.err
    assert doors.broker.count(TOKEN) == 1
    assert doors.env_file.read_bytes() == before


def test_another_account(doors):
    """A login as somebody else is refused and changes nothing."""
    doors.log_in()
    before = doors.env_file.read_bytes()
    doors.broker.user_id = "SIM002"
    address = consent(doors.manager().get_authorization_url())
    ended = doors.run(*NO_BROWSER, stdin=address + "\n")

    assert ended.code == 77
    assert "SIM002" in ended.err
    assert "SIM001" in ended.err
    assert doors.env_file.read_bytes() == before


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"UPSTOX_CLIENT_ID": ""}, ["UPSTOX_CLIENT_ID"]),
        ({"UPSTOX_CLIENT_SECRET": None}, ["UPSTOX_CLIENT_SECRET"]),
        (
            {"UPSTOX_CLIENT_ID": None, "UPSTOX_SESSION": "noon", "UPSTOX_API_URL": "http://a.b"},
            ["UPSTOX_CLIENT_ID", "UPSTOX_SESSION", "UPSTOX_API_URL"],
        ),
    ],
)
def test_bad_configuration(doors, keys, named):
    """Every wrong key is named at once, before anybody logs in."""
    doors.write(**keys)
    ended = doors.run(*NO_BROWSER, stdin="abc123\n")

    assert ended.code == 78
    assert all(key in ended.err for key in named)
    assert "dialog" not in ended.said


def test_wrong_credentials(doors):
    """A secret that the broker refuses is a matter of configuration."""
    doors.write(UPSTOX_CLIENT_SECRET="planted-wrong-secret")
    doors.broker.secrets.add("planted-wrong-secret")
    before = doors.env_file.read_bytes()
    ended = doors.run(*NO_BROWSER, stdin=consent(doors.manager().get_authorization_url()) + "\n")

    assert ended.code == 78
    assert "UPSTOX_CLIENT_SECRET" in ended.err
    assert doors.env_file.read_bytes() == before


def test_no_env(doors):
    """Without a `.env` every place looked at is named."""
    doors.env_file.unlink()
    ended = doors.run(*NO_BROWSER, "--env-file", str(doors.folder / "none.env"))

    assert ended.code == 78
    assert "none.env" in ended.err


@pytest.mark.parametrize(
    "dress", ["{}", "access_token={}", "Bearer {}", "'{}'", "  {}  ", "\u00a0{}\u2003", "\ufeff{}"]
)
def test_paste_token(doors, dress):
    """A ready token is probed, its account pinned, and stored as it is meant."""
    token = doors.broker.mint()
    ended = doors.run(*PASTE, stdin=dress.format(token) + "\n")

    assert ended.code == 0
    assert doors.values["access_token"] == token
    assert doors.values["UPSTOX_USER_ID"] == "SIM001"
    assert "Stored in" in ended.out


def test_paste_token_needs_no_credentials(doors):
    """A `.env` without an app can still hold a pasted token."""
    doors.write(UPSTOX_CLIENT_ID=None, UPSTOX_CLIENT_SECRET=None)
    ended = doors.run(*PASTE, stdin=doors.broker.mint() + "\n")

    assert ended.code == 0


def dead(doors):
    token = doors.broker.mint()
    doors.broker.revoke(token)
    return token


def foreign(doors):
    doors.log_in()
    return doors.broker.mint("SIM002")


def unreachable(doors):
    token = doors.broker.mint()
    doors.write(UPSTOX_API_URL=f"http://127.0.0.1:{free_port()}")
    return token


def troubled(doors):
    doors.broker.answers[LTP] = Response(503)
    return doors.broker.mint()


def nameless(doors):
    doors.broker.answers[PROFILE] = Response(503)
    return doors.broker.mint()


@pytest.mark.parametrize(
    ("arrange", "code", "sentence"),
    [
        (dead, 77, "Token is expired or invalid"),
        (foreign, 77, "SIM002"),
        (unreachable, 75, "refuses the connection"),
        (troubled, 75, "503"),
        (nameless, 75, "503"),
        (lambda doors: "two words", 77, "no access token"),
        (lambda doors: "", 77, "Nothing was pasted"),
    ],
)
def test_paste_token_refused(doors, arrange, code, sentence):
    """A token that is dead, foreign or cannot be checked is not stored."""
    token = arrange(doors)
    before = doors.env_file.read_bytes()
    ended = doors.run(*PASTE, stdin=f"{token}\n")

    assert ended.code == code
    assert sentence in ended.err
    assert ended.out == ""
    assert doors.env_file.read_bytes() == before


@pytest.fixture
def browser(tmp_path_factory):
    """The environment of a desktop whose browser consents by itself."""
    script = tmp_path_factory.mktemp("browser") / "browser.py"
    script.write_text(BROWSER, encoding="utf-8")
    return {"BROWSER": f"{sys.executable} {script} %s"}


@pytest.fixture
def idle_browser():
    """The environment of a desktop whose browser does nothing: the test is the browser."""
    return {"BROWSER": "true %s"}


def test_in_the_browser(doors, browser):
    """The browser opens, the redirect is caught, and the page says that it worked."""
    ended = doors.run(*INIT, environ=browser)

    assert ended.code == 0
    assert doors.broker.is_live(doors.values["access_token"])
    assert doors.broker.count(TOKEN) == 1


def test_what_a_browser_does_besides(doors, idle_browser):
    """A favicon, a foreign state and a reload are harmless: one login, one token request."""
    hold = doors.broker.answers[TOKEN] = Hang()
    with doors.start(*INIT, environ=idle_browser) as running:
        address = address_shown(running)
        running.wait_for("Waiting up to 5 minutes")
        base = doors.redirect_uri.removesuffix("/callback")
        favicon = get(f"{base}/favicon.ico")
        stranger = get(redirect(doors, code="abc123", state="not-ours"))
        stateless = get(redirect(doors, code="abc123"))
        refusal = get(redirect(doors, error="access_denied", state="not-ours"))
        answer = consent(address)
        hold.release.set()
        page = get(answer)
        ended = running.wait()

    assert favicon.status_code == 404
    assert {stranger.status_code, stateless.status_code, refusal.status_code} == {400}
    assert page.status_code == 200
    assert "Successfully authenticated with Upstox!" in page.text
    assert code_of(answer) not in page.text
    assert ended.code == 0
    assert doors.broker.count(TOKEN) == 1


def test_a_reload_while_the_exchange_runs(doors, idle_browser):
    """A reload shows the same page and sends the code no second time."""
    hold = doors.broker.answers[TOKEN] = Hang()
    with doors.start(*INIT, environ=idle_browser) as running:
        answer = consent(address_shown(running))
        with socket.create_connection(
            ("localhost", int(base_port(doors))), timeout=30
        ) as impatient:
            path = answer.partition(base_port(doors))[2]
            impatient.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            doors.broker.await_request(TOKEN)
            with socket.create_connection(("localhost", int(base_port(doors))), timeout=30) as tab:
                tab.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                hold.release.set()
                pages = [read_all(impatient), read_all(tab)]
        ended = running.wait()

    assert ended.code == 0
    assert all("Successfully authenticated with Upstox!" in page for page in pages)
    assert doors.broker.count(TOKEN) == 1


def base_port(doors):
    return doors.redirect_uri.removesuffix("/callback").rpartition(":")[2]


def read_all(connection):
    page = b""
    while chunk := connection.recv(4096):
        page += chunk
    return page.decode()


def test_a_refusal_in_the_browser(doors, idle_browser):
    """`error=access_denied` with our state ends the login; terminal and page say so."""
    with doors.start(*INIT, environ=idle_browser) as running:
        state = re.search(r"state=([^&\s]+)", address_shown(running)).group(1)
        running.wait_for("Waiting up to")
        page = get(redirect(doors, error="access_denied", state=state))
        ended = running.wait()

    assert page.status_code == 200
    assert "Successfully" not in page.text
    assert ended.code == 77
    assert "access_denied" in ended.err
    assert doors.broker.count(TOKEN) == 0


def test_a_failed_exchange_shows_in_the_browser(doors, idle_browser):
    """When the broker refuses the code, neither page nor terminal speak of success."""
    doors.broker.answers[TOKEN] = Response(503)
    before = doors.env_file.read_bytes()
    with doors.start(*INIT, environ=idle_browser) as running:
        page = get(consent(address_shown(running)))
        ended = running.wait()

    assert "Successfully" not in page.text
    assert ended.code == 75
    assert doors.env_file.read_bytes() == before


def test_the_port_is_in_use(doors, idle_browser):
    """A taken port is explained, and the answer can be pasted instead."""
    with (
        socket.create_server(("127.0.0.1", int(base_port(doors)))),
        doors.start(*INIT, environ=idle_browser) as running,
    ):
        running.wait_for(base_port(doors), "in use")
        running.type(consent(address_shown(running)))
        ended = running.wait()

    assert ended.code == 0
    assert doors.broker.is_live(doors.values["access_token"])


def test_without_a_display_the_link_is_printed(doors):
    """On a server nothing is opened: the link is printed and the answer pasted."""
    with doors.start(*INIT) as running:
        running.type(consent(address_shown(running)))
        ended = running.wait()

    assert ended.code == 0
    with pytest.raises(requests.ConnectionError):
        get(doors.redirect_uri)

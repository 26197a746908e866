"""The README's nginx and Caddy set-ups, in front of a real listener."""

import re
import threading
from contextlib import contextmanager

import pytest
import requests
from support.doors import LIMIT, ROOT, free_port
from support.house import running_house
from support.proxies import program, running, running_nginx

from broker_tokens.announcer import Announcer
from broker_tokens.listener import listening
from broker_tokens.model import TokenStored, Way
from broker_tokens.place import Place

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language):
    """Return the README's configuration for a proxy."""
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


@contextmanager
def nginx(folder, port, backend):
    """nginx with the README's locations in its server block, without TLS."""
    locations = block("nginx").replace("127.0.0.1:8765", str(backend))
    server = f"server {{ listen 127.0.0.1:{port};\n{locations} }}"
    with running_nginx(folder, [port], server):
        yield


@contextmanager
def caddy(folder, port, backend):
    """Caddy with the README's site, without TLS and without its admin port."""
    site = block("caddyfile").replace("127.0.0.1:8765", str(backend))
    site = site.replace("trader.example.com", f"http://127.0.0.1:{port}")
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\n\tadmin off\n}}\n{site}", encoding="utf-8")
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with running(command, port, homes):
        yield


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_webhook_and_redirect_pass_and_nothing_else_does(tmp_path, proxy):
    """An approved token and a login link arrive through the README's proxy; a stray is a 404."""
    port = free_port()
    public = f"http://127.0.0.1:{port}"
    with running_house(tmp_path, redirect_uri=f"{public}/callback") as house:
        house.set(UPSTOX_REDIRECT_URI=f"{public}/callback", UPSTOX_USER_ID="SIM001")
        stored = threading.Semaphore(0)

        def hear(event):
            house.events.append(event)
            stored.release()

        with (
            listening(
                str(house.env_file),
                Place("127.0.0.1", 0),
                Announcer([hear]),
                lambda: None,
                environ={},
                clock=house.clock,
            ) as place,
            proxy(tmp_path, port, place),
        ):
            secret = house.service().notifier_secret().reveal()
            house.broker.notifier_url = f"{public}/notifier/{secret}"
            house.service(is_listening=True).ask_phone()
            approved = house.broker.approve()
            assert stored.acquire(timeout=LIMIT)
            house.clock.advance(minutes=1)
            link = house.service(is_listening=True).look().login_url
            page = requests.get(link, timeout=LIMIT)
            strays = [
                requests.get(f"{public}{path}", timeout=LIMIT).status_code
                for path in ("/notifier/guess", "/", "/.env")
            ]
            watched = [
                requests.get(f"{public}{path}", timeout=LIMIT).text
                for path in ("/healthz", "/readyz", "/metrics")
            ]
            large = requests.post(house.broker.notifier_url, data=b"x" * 20_000, timeout=LIMIT)

    ways = [event.way for event in house.events if isinstance(event, TokenStored)]
    assert house.broker.is_live(approved)
    assert ways == [Way.PHONE_APPROVAL, Way.BROWSER_LOGIN]
    assert "Successfully authenticated with Upstox!" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert strays[0] == 404
    assert set(strays[1:]) <= {200, 404}
    assert not [text for text in watched if re.search("^ok$|ready|upstox_token", text)]
    assert large.status_code == 413

"""A real Chromium opens the login link of a notice, reloads, and presses back and forward."""

from support.chromium import Chromium
from support.doors import free_port
from support.house import running_house

from broker_tokens.announcer import Announcer
from broker_tokens.listener import listening
from broker_tokens.model import PersonNeeded, TokenStored
from broker_tokens.place import Place


def test_the_link_logs_in_once_whatever_the_browser_does(tmp_path):
    """One exchange; every later look at the page says that it is done."""
    port = free_port()
    redirect = f"http://localhost:{port}/callback"
    with running_house(tmp_path, redirect_uri=redirect) as house:
        house.set(UPSTOX_REDIRECT_URI=redirect)
        announcer = Announcer([house.events.append])
        place = Place("localhost", port)
        with listening(
            str(house.env_file), place, announcer, lambda: None, environ={}, clock=house.clock
        ):
            house.service(announcer=announcer).tick()
            link = next(e.login_url for e in house.events if isinstance(e, PersonNeeded))
            with Chromium(tmp_path / "profile") as browser:
                shown = [
                    browser.open(link),
                    browser.reload(),
                    browser.open(f"http://localhost:{port}/favicon.ico"),
                    browser.go(-1),
                    browser.open(link),
                ]

    assert "Successfully authenticated with Upstox!" in shown[0]
    assert shown[1] == shown[3] == shown[0]
    assert shown[2].strip() == "Nothing is here."
    assert "Successfully authenticated" in shown[4]
    assert house.broker.token_requests == 1
    assert len([e for e in house.events if isinstance(e, TokenStored)]) == 1

"""The examples, as a user runs them: against the simulated broker, with the real libraries."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support.doors import ONCE, ROOT
from support.feed import running_feed

from broker_tokens.simulator.broker import Endpoint

EXAMPLES = ROOT / "examples"
NIFTY = "NSE_INDEX|Nifty 50"
SHELL = "import os, sys; os.execvp('sh', ['sh', *sys.argv[1:]])"


def path(name):
    return str(EXAMPLES / name)


def order(doors, **environ):
    return doors.run(
        path("order_safely.py"), NIFTY, "1", environ={"UPSTOX_ORDER_URL": doors.url, **environ}
    )


def orders(doors):
    return [record.status for record in doors.broker.requests if record.endpoint is Endpoint.ORDER]


def test_an_order_is_placed_once(doors):
    """With the stored token."""
    doors.log_in()
    ended = order(doors)

    assert ended.code == 0
    assert ended.out.startswith("Placed: ")
    assert orders(doors) == [200]


def test_an_order_that_is_refused_is_not_sent_again(rotating):
    """The token had died; the next order has the new one."""
    rotating.log_in()
    rotating.broker.revoke_all()
    refused, taken = order(rotating), order(rotating)

    assert (refused.code, taken.code) == (1, 0)
    assert refused.err == "Not placed: HTTP 401\n"
    assert orders(rotating) == [401, 200]


def test_an_order_whose_answer_is_lost_is_said_to_be_uncertain(doors):
    """Nothing answers there: with the tag it can be looked for."""
    doors.log_in()
    ended = order(doors, UPSTOX_ORDER_URL="http://127.0.0.1:9", UPSTOX_API_URL="http://127.0.0.1:9")

    assert ended.code == 2
    assert "look for the tag" in ended.err


def test_without_a_token_nothing_is_ordered(doors):
    """And it says what to do."""
    ended = order(doors)

    assert ended.code == 1
    assert "init_tokens.py" in ended.err
    assert orders(doors) == []


def test_prices_are_streamed_through_a_change_of_the_token(rotating, tmp_path_factory):
    """The SDK's streamer, from before the first token to after the second one."""
    pytest.importorskip("upstox_client")
    with running_feed(rotating.broker, tmp_path_factory.mktemp("feed")) as feed:
        environ = {"https_proxy": feed.proxy, "no_proxy": "127.0.0.1"}
        with rotating.start(path("stream_prices.py"), NIFTY, environ=environ) as running:
            first = rotating.log_in()
            running.wait_for(f"{NIFTY} 23456.7")
            assert rotating.run(*ONCE, "--force").code == 0
            running.wait_for(f"{NIFTY} 23456.7")
            running.process.kill()
            running.wait()

    assert [feed.tokens.get_nowait() for _ in range(2)] == [first, rotating.values["access_token"]]


def test_an_asyncio_program_goes_on_with_the_new_token(rotating):
    """It has waited for the first one, too."""
    with rotating.start(path("watch_async.py"), NIFTY) as running:
        running.wait_for("Waiting for a token.")
        rotating.log_in()
        running.wait_for("There is a new token.")
        assert rotating.run(*ONCE, "--force").code == 0
        running.wait_for("There is a new token.")
        running.process.send_signal(signal.SIGINT)
        ended = running.wait()

    assert ended.code == 130
    assert ended.err.count("Traceback") == 0


def test_a_shell_asks_for_a_price(doors):
    """With curl; the token is on no command line."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    doors.log_in()
    bin_folder = str(Path(sys.executable).parent)
    environ = {"UPSTOX_API_URL": doors.url, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    ended = doors.run("-c", SHELL, path("poll_with_curl.sh"), NIFTY, "1", environ=environ)

    assert ended.code == 0
    assert '"last_price"' in ended.out

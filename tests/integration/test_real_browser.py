"""A real Chromium logs in through `init_tokens.py`, as a trader's browser does."""

import os
import shutil

import pytest
from support.doors import INIT, TOKEN, open_doors

# Started as a desktop would start it, but without a window, and without calls to its maker.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --virtual-time-budget=60000"
)


@pytest.fixture
def chromium():
    """The path of Chromium; without it the test is skipped, but not in CI."""
    found = shutil.which("chromium")
    if found is None:
        assert not os.environ.get("CI"), "CI installs chromium"
        pytest.skip("chromium is not installed")
    return found


def test_login_in_a_real_browser(tmp_path, chromium):
    """The page says that it worked; one code was exchanged, whatever else the browser asked for."""
    page = tmp_path / "page"
    os.mkfifo(page)
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nexec {chromium} {FLAGS} --user-data-dir="{tmp_path}/profile" --dump-dom "$1"'
        f' >"{page}" 2>/dev/null\n',
        encoding="utf-8",
    )
    browser.chmod(0o755)
    folder = tmp_path / "trader"
    folder.mkdir()
    with open_doors(folder) as doors:
        with doors.start(*INIT, environ={"BROWSER": f"{browser} %s"}) as running:
            shown = page.read_text(encoding="utf-8")  # ends when the browser does
            ended = running.wait()

        assert "Successfully authenticated with Upstox!" in shown
        assert ended.code == 0
        assert doors.broker.count(TOKEN) == 1
        assert doors.broker.is_live(doors.values["access_token"])

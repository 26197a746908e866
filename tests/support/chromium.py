"""A real headless Chromium, driven through its DevTools pipe: open, reload, back, forward."""

import json
import os
import queue
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

LIMIT = 60

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-back-forward-cache",  # back asks the server again, as it does after a while
    "--remote-debugging-pipe",
)


def find_chromium() -> str:
    """Return the path of Chromium; without it the test is skipped, but not in CI."""
    found = shutil.which("chromium")
    if found is None:
        assert not os.environ.get("CI"), "CI installs chromium"
        pytest.skip("chromium is not installed")
    return found


class Chromium:
    """One browser with one page; a context manager (Chrome DevTools Protocol over fds 3 and 4)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._messages: queue.Queue[dict] = queue.Queue()
        self._number = 0

    def __enter__(self):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        words = [find_chromium(), *_FLAGS, f"--user-data-dir={self._folder}"]
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self._ask("Page.enable")
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT)
        os.close(self._out)
        self._reader.join(LIMIT)
        os.close(self._in)

    def open(self, address: str) -> str:
        """Open an address and return the text of the page it led to."""
        self._ask("Page.navigate", url=address)
        return self._loaded()

    def reload(self) -> str:
        """Reload the page and return its text."""
        self._ask("Page.reload")
        return self._loaded()

    def go(self, steps: int) -> str:
        """Press back (-1) or forward (1) and return the text of the page."""
        history = self._ask("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] + steps]
        self._ask("Page.navigateToHistoryEntry", entryId=entry["id"])
        return self._loaded()

    def _loaded(self) -> str:
        while self._next().get("method") != "Page.loadEventFired":
            pass
        answer = self._ask("Runtime.evaluate", expression="document.body.innerText")
        return answer["result"]["value"]

    def _ask(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        passed = []
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                for each in passed:
                    self._messages.put(each)
                assert "result" in answer, answer
                return answer["result"]
            passed.append(answer)

    def _next(self) -> dict:
        return self._messages.get(timeout=LIMIT)

    def _read(self) -> None:
        buffer = b""
        with suppress(OSError):
            while chunk := os.read(self._in, 65536):
                *whole, buffer = (buffer + chunk).split(b"\0")
                for each in whole:
                    self._messages.put(json.loads(each))

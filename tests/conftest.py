"""What holds for every test: no network but loopback, a scrubbed environment, a home of its own."""

import os
import socket

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine draws examples is no property of the code.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What else of a developer's machine would change what a program here does.
_OTHER_SETTINGS = (
    *("JOURNAL_STREAM", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC"),
)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch, tmp_path_factory):
    """Tests see none of the developer's settings, proxies or home."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("UPSTOX_") or name.lower().endswith("_proxy") or name == "access_token":
            monkeypatch.delenv(name)
    for name in _OTHER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    """A test that reaches for the real network fails at once."""
    connect = socket.socket.connect

    def guarded(self, address):
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in _LOOPBACK:
            raise AssertionError(f"a test tried to connect to {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)

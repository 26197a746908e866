"""Hostile servers that end with the test, a certificate nobody trusts, and an Upstox to call."""

import ssl
import subprocess
import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
from support.hostile import LIMIT, HostileServer
from support.house import HandClock, ist

from broker_tokens.brokers.upstox import Upstox
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings
from broker_tokens.transport import HttpTransport

# Long enough for a loopback reply on a busy machine, short enough to wait for.
SHORT = timedelta(seconds=0.5)


@pytest.fixture
def serve():
    """Start a server that plays the given scripts."""
    with ExitStack() as stack:
        yield lambda *scripts, **options: stack.enter_context(HostileServer(scripts, **options))


@pytest.fixture(autouse=True)
def _own_certificates(monkeypatch):
    """The CA bundle of the machine that runs the tests plays no part."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_thread_stays():
    """Whatever a test does, the thread of its request comes to an end."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
        assert not thread.is_alive(), f"{thread.name} still runs"


@pytest.fixture
def clock():
    return HandClock(ist("2026-11-20 09:00"))


@pytest.fixture
def upstox_at(clock):
    """Return an Upstox whose API is at an address."""

    def make(url, transport=None, **settings):
        settings.setdefault("client_id", "client-of-test")
        settings.setdefault("client_secret", Secret("PLANTED-client-secret"))
        return Upstox(
            Settings(api_url=url, **settings), transport or HttpTransport(deadline=SHORT), clock
        )

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return a self-signed certificate for 127.0.0.1 and its key, as files."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:broker.example"]
    files = ["-keyout", str(key), "-out", str(cert)]
    command = ["openssl", "req", "-x509", *curve, "-days", "3650", *name, *files]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
def tls(certificate):
    """Return a server's TLS context with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context

"""What the machine around us does to a request: proxies, `.netrc`, CA bundles, TLS."""

import ssl
from datetime import timedelta

import pytest
from support.hostile import http, texts_of
from unit.broker.conftest import SHORT

from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.http_message import Request
from broker_tokens.transport import HttpTransport

FORM = {"code": "PLANTED-code", "client_secret": "PLANTED-client-secret"}
AMPLE = timedelta(seconds=5)


def post(url, deadline=SHORT):
    return HttpTransport(deadline=deadline).send(Request("POST", url, form=FORM))


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """Put passwords for every host in play into `.netrc`."""
    text = "".join(
        f"machine {host} login mallory password hunter2\n"
        for host in ("127.0.0.1", "localhost", "broker.example")
    )
    (tmp_path / ".netrc").write_text(text + "default login eve password hunter3\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


def test_broker_netrc_never_replaces_the_bearer(serve, netrc):
    """A `.netrc` entry for the host changes nothing about a bearer call."""
    server = serve(http(200, {}))
    bearer = {"Authorization": "Bearer tok"}

    HttpTransport(deadline=SHORT).send(Request("GET", server.url, bearer))

    assert server.requests[0].headers["authorization"] == "Bearer tok"


def test_broker_netrc_adds_nothing_to_the_token_request(serve, netrc, monkeypatch):
    """The token request carries no Authorization, directly or through a proxy."""
    server = serve(http(200, {}))
    monkeypatch.setenv("HTTP_PROXY", server.url)

    post(server.url)
    post("http://broker.example/token")

    assert len(server.requests) == 2
    assert all("authorization" not in request.headers for request in server.requests)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_broker_proxy_never_sees_a_loopback_call(serve, monkeypatch, name):
    """A call to this very machine goes straight there, whatever proxy is set."""
    proxy, server = serve(http(200, {})), serve(http(200, {}))
    monkeypatch.setenv(name, proxy.url)

    post(server.url)

    assert (proxy.connections, server.connections) == (0, 1)


def test_broker_proxy_is_honoured_for_other_hosts(serve, monkeypatch):
    """The proxy of the environment gets the request for a host that is not this machine."""
    proxy = serve(http(200, {"via": "proxy"}))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    assert b"proxy" in post("http://broker.example/token").body
    assert proxy.requests[0].path == "http://broker.example/token"


def tunnel(line, status, context=None):
    """Answer CONNECT; with a TLS context, go on as the host that was asked for."""
    head = line.read_head()
    assert (head.method, head.path) == ("CONNECT", "broker.example:443")
    line.send(f"HTTP/1.1 {status} Words\r\n\r\n".encode())
    if context is not None:
        line.start_tls(context)
        line.read_request()
        line.send(http(200, {"via": "tunnel"}))


def test_broker_https_goes_through_a_tunnel(serve, monkeypatch, tls, certificate):
    """A proxy that tunnels sees neither path nor form; the form arrives once."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    proxy = serve(lambda line: tunnel(line, 200, tls))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    assert b"tunnel" in post("https://broker.example/token", AMPLE).body
    assert [request.path for request in proxy.requests] == ["/token"]
    assert proxy.connections == 1


@pytest.mark.parametrize("status", [403, 407, 502])
def test_broker_proxy_that_refuses_is_named(serve, monkeypatch, status):
    """A tunnel refused is temporary, is told as the proxy's fault, and nothing was sent."""
    proxy = serve(lambda line: tunnel(line, status))
    address = proxy.url.replace("://", "://user:PLANTED-proxy-password@")
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(TemporaryFailure) as caught:
        post("https://broker.example/token", AMPLE)

    assert caught.value.cause == "The proxy on the way to broker.example fails."
    assert not caught.value.request_sent
    assert proxy.connections == 1
    assert not [text for text in texts_of(caught.value) if "PLANTED" in text]


def test_broker_silent_proxy_ends_at_the_deadline(serve, monkeypatch):
    """A proxy that takes the connection and never answers is cut off; nothing was sent."""
    proxy = serve(lambda line: line.wait_for_hang_up())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    with pytest.raises(TemporaryFailure) as caught:
        post("https://broker.example/token")

    assert not caught.value.request_sent


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http://:::",
        "http://[::1",
        "http://p:99999",
        "ftp://p",
        "socks5://p",
        "://",
        "http:///",
    ],
)
def test_broker_malformed_proxy_is_a_configuration_error(monkeypatch, address):
    """A proxy address that can never work is the user's to mend, and is named as such."""
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(ConfigurationError) as caught:
        post("https://broker.example/token")

    assert "proxy" in caught.value.cause
    assert "HTTPS_PROXY" in caught.value.advice


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("host", ["broker.example", "127.0.0.1:9"])
def test_broker_missing_ca_bundle_is_a_configuration_error(monkeypatch, name, host):
    """A CA bundle that is not there is the user's to mend; no connection is tried."""
    monkeypatch.setenv(name, "/nonexistent/bundle.pem")

    with pytest.raises(ConfigurationError) as caught:
        post(f"https://{host}/token")

    assert "CA bundle" in caught.value.cause


def test_broker_ca_bundle_that_is_none_is_told(serve, monkeypatch, tmp_path, tls):
    """A CA bundle without a certificate in it fails as TLS does, with nothing sent."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    with pytest.raises(TemporaryFailure) as caught:
        post(serve(http(200, {}), tls=tls).url, AMPLE)

    assert "TLS" in caught.value.cause
    assert not caught.value.request_sent


def test_broker_untrusted_certificate_gets_nothing(serve, tls):
    """A server that nobody vouches for never sees the form."""
    server = serve(http(200, {}), tls=tls)

    with pytest.raises(TemporaryFailure) as caught:
        post(server.url, AMPLE)

    assert "self-signed certificate" in caught.value.cause
    assert not caught.value.request_sent
    assert server.requests == []


def test_broker_certificate_of_another_name_gets_nothing(serve, tls, certificate, monkeypatch):
    """A trusted certificate for another name is none."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    server = serve(http(200, {}), tls=tls)

    with pytest.raises(TemporaryFailure) as caught:
        post(server.url.replace("127.0.0.1", "localhost"), AMPLE)

    assert "TLS" in caught.value.cause
    assert server.requests == []


def test_broker_trusted_certificate_is_taken(serve, tls, certificate, monkeypatch):
    """The environment's CA bundle is honoured, on loopback too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    server = serve(http(200, {"fine": True}), tls=tls)

    assert b"fine" in post(server.url, AMPLE).body


def test_broker_plain_http_on_the_https_port_is_a_tls_failure(serve):
    """A server that speaks no TLS is told from one that is not there; nothing was sent."""
    server = serve(lambda line: line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    with pytest.raises(TemporaryFailure) as caught:
        post(server.url.replace("http:", "https:"), AMPLE)

    assert "TLS" in caught.value.cause
    assert not caught.value.request_sent


def test_broker_tls_server_that_stalls_in_the_handshake_is_cut(serve):
    """The deadline covers the handshake, and the code counts as unspent."""
    server = serve(lambda line: line.wait_for_hang_up())

    with pytest.raises(TemporaryFailure) as caught:
        post(server.url.replace("http:", "https:"))

    assert not caught.value.request_sent


def test_broker_tls_reply_that_drips_is_cut(serve, tls, certificate, monkeypatch):
    """The deadline holds inside TLS as well: the socket under it is shut down."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))

    def drip(line):
        line.read_request()
        line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        line.drip(b"z" * 1000)

    server = serve(drip, tls=tls)
    with pytest.raises(TemporaryFailure) as caught:
        post(server.url, timedelta(seconds=1))

    assert server.hung_up.wait(5)
    assert caught.value.request_sent
    assert isinstance(tls, ssl.SSLContext)

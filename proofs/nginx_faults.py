"""Hostile replies on purpose: a real nginx that resets, drips, redirects, and has bad certificates.

Each fault is a server of its own in one nginx, before a broker that means well.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from support.doors import free_port
from support.hostile import HostileServer, Line
from support.proxies import running_nginx

from proofs.finding import Finding
from proofs.wire import logged_in

_TLS = "ssl_certificate {folder}/{name}.pem; ssl_certificate_key {folder}/{name}.key;"
_PASS = "location / {{ proxy_pass {backend}; }}"

# name: the server's block, how it is addressed, and what must come of a renewal
_FAULTS = {
    "passes on": (_PASS, "http", "renewed"),
    "passes on, over TLS": (f"{_TLS} {_PASS}", "https trusted", "renewed"),
    "reset": ("return 444;", "http", "TemporaryFailure"),
    "drips": (f"limit_rate 20; {_PASS}", "http", "TemporaryFailure"),
    "nobody behind": (
        "location / {{ proxy_pass http://127.0.0.1:9; }}",
        "http",
        "TemporaryFailure",
    ),
    "a broker that hangs": (
        "location / {{ proxy_pass {hanging}; proxy_read_timeout 100ms; }}",
        "http",
        "TemporaryFailure",
    ),
    "breaks off behind": (
        "location / {{ proxy_pass {cutting}; }}",
        "http",
        "TemporaryFailure",
    ),
    "too large a request": (
        f"client_max_body_size 10; {_PASS}",
        "http",
        "TemporaryFailure",
    ),
    "redirects": ("return 307 http://127.0.0.1:9/;", "http", "TemporaryFailure"),
    "a page": ("return 200 '<html>Welcome</html>';", "http", "TemporaryFailure"),
    "nothing": ("return 204;", "http", "TemporaryFailure"),
    "too many requests": (
        "add_header Retry-After 30 always; return 429;",
        "http",
        "TemporaryFailure",
    ),
    "TLS where none is expected": (f"{_TLS} {_PASS}", "http", "TemporaryFailure"),
    "no TLS where it is expected": (_PASS, "https", "TemporaryFailure"),
    "a certificate nobody trusts": (f"{_TLS} {_PASS}", "https", "TemporaryFailure"),
    "a certificate of yesterday": (f"{_TLS} {_PASS}", "https trusted", "TemporaryFailure"),
    "a certificate of somebody else": (f"{_TLS} {_PASS}", "https trusted", "TemporaryFailure"),
    "a TLS of yesterday": (
        f"ssl_protocols TLSv1 TLSv1.1; {_TLS} {_PASS}",
        "https trusted",
        "TemporaryFailure",
    ),
}

_OTHER_CERTIFICATES = {
    "a certificate of yesterday": ("2020-01-01", "IP:127.0.0.1"),
    "a certificate of somebody else": ("", "DNS:elsewhere.example"),
}


def nginx_faults(count: int) -> Finding:
    """Renew through every fault, `count` times over."""
    with ExitStack() as stack:
        on_wire = stack.enter_context(logged_in())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        folder.chmod(0o755)
        addresses = stack.enter_context(_nginx(folder, on_wire.house.url))
        for number in range(count):
            for name, (_, _, expected) in _FAULTS.items():
                address, bundle = addresses[name]
                on_wire.go_through(address)
                # Whose certificates are trusted is for the environment to say, and nothing else.
                with mock.patch.dict(os.environ, REQUESTS_CA_BUNDLE=bundle):
                    outcome = on_wire.renew(f"{name}, {number}")
                if outcome != expected:
                    on_wire.finding.broken.append(f"{name}: {outcome}, not {expected}")
        on_wire.go_through(on_wire.house.url)
        return on_wire.conclude(f"replies through nginx, {len(_FAULTS)} ways")


@contextmanager
def _nginx(folder: Path, backend: str) -> Iterator[dict[str, tuple[str, str]]]:
    """Run nginx; give each fault's address, and the certificates that its visitor trusts."""
    ports = {name: free_port() for name in _FAULTS}
    for number, name in enumerate(_FAULTS):
        since, names = _OTHER_CERTIFICATES.get(name, ("", "IP:127.0.0.1"))
        _make_certificate(folder, str(number), since, names)
    with HostileServer((_hang,)) as hanging, HostileServer((_cut,)) as cutting:
        servers = ""
        for number, (name, (block, _, _)) in enumerate(_FAULTS.items()):
            content = block.format(
                folder=folder,
                name=number,
                backend=backend,
                hanging=hanging.url,
                cutting=cutting.url,
            )
            tls = " ssl" if "ssl_certificate " in block else ""
            servers += f"server {{ listen 127.0.0.1:{ports[name]}{tls}; {content} }}\n"
        with running_nginx(folder, list(ports.values()), servers):
            yield {
                name: (
                    f"{how.split()[0]}://127.0.0.1:{ports[name]}",
                    str(folder / f"{number}.pem") if "trusted" in how else "",
                )
                for number, (name, (_, how, _)) in enumerate(_FAULTS.items())
            }


def _make_certificate(folder: Path, name: str, since: str, names: str) -> None:
    """Make a certificate of a day, that begins when `since` says."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subject = ["-subj", "/CN=broker", "-addext", f"subjectAltName={names}", "-days", "1"]
    command = ["openssl", "req", "-x509", *curve, *subject, *files]
    clock = ["faketime", since] if since else []
    subprocess.run([*clock, *command], check=True, capture_output=True)


def _hang(line: Line) -> None:
    line.read_request()
    line.wait_for_hang_up()


def _cut(line: Line) -> None:
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
    line.reset()

"""Real proxies as processes of their own: nginx, Caddy, mitmproxy."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.doors import LIMIT


def find(name):
    """Return a proxy's path, None if this machine has none: Debian has nginx in /usr/sbin."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=f"/usr/sbin:{beside}")


def program(name):
    """Return a proxy's path; without it the test is skipped, but not in CI."""
    found = find(name)
    if found is None:
        assert not os.environ.get("CI"), f"CI installs {name}"
        pytest.skip(f"{name} is not installed")
    return found


def wait_for_port(port, process):
    """Wait until a proxy listens; each look is an attempt to connect, refused at once."""
    for _ in range(100_000):
        assert process.poll() is None, process.stderr.read()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            continue
        return
    raise AssertionError("the proxy does not listen")


@contextmanager
def running(command, port, environ=None):
    """Run a proxy until left."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environ or {}),
    )
    drain = None
    try:
        wait_for_port(port, process)
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield
    finally:
        process.terminate()
        process.wait(LIMIT)
        if drain is not None:
            drain.join(LIMIT)
        process.stderr.close()


@contextmanager
def running_nginx(folder, ports, servers):
    """Run nginx with the given server blocks, which listen on `ports`, until left."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = Path(folder, "nginx.conf")
    configuration.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{servers} }}\n",
        encoding="utf-8",
    )
    with running([program("nginx"), "-c", str(configuration), "-e", "stderr"], ports[-1]):
        yield

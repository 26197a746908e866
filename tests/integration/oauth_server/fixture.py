"""Starts and stops a real OAuth 2.0 server with the broker's addresses (see server.mjs)."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

HERE = Path(__file__).resolve().parent
START_LIMIT = 30
STOP_LIMIT = 10


def _modules() -> Path:
    return Path(os.environ.get("OAUTH_SERVER_MODULES") or HERE / "node_modules").resolve()


def why_unavailable() -> str | None:
    """Why the server cannot run here, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (_modules() / "oidc-provider" / "package.json").is_file():
        return (
            "oidc-provider is not installed: "
            "npm install --no-package-lock --prefix tests/integration/oauth_server"
        )
    return None


def require_server() -> None:
    """Skips the test where the server cannot run; in CI, which installs it, fails it."""
    reason = why_unavailable()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_server(client_id: str, client_secret: str, redirect_uri: str) -> Iterator[str]:
    """A server that knows this one client; gives its base URL."""
    environment = os.environ | {
        "OAUTH_CLIENT_ID": client_id,
        "OAUTH_CLIENT_SECRET": client_secret,
        "OAUTH_REDIRECT_URI": redirect_uri,
        "OAUTH_SERVER_MODULES": str(_modules()),
    }
    with (
        tempfile.TemporaryFile(mode="w+") as complaints,
        subprocess.Popen(
            ["node", str(HERE / "server.mjs")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as process,
    ):
        try:
            line = _first_line(process)
            if not line:
                process.wait()
                complaints.seek(0)
                raise RuntimeError(f"the OAuth server did not start:\n{complaints.read()}")
            yield json.loads(line)["url"]
        finally:
            _stop(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    limit = threading.Timer(START_LIMIT, process.kill)
    limit.start()
    try:
        return process.stdout.readline()
    finally:
        limit.cancel()


def _stop(process: subprocess.Popen[str]) -> None:
    """The end of its stdin tells the server to stop; one that does not is killed."""
    process.stdin.close()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()


def token_requests(server: str) -> list[dict[str, Any]]:
    """Every request the token endpoint received, oldest first, and how it was answered.

    Keys: grant_type, refresh_token_sha256 (see `fingerprint`), status, error.
    """
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{server}/__requests", timeout=30)
    answer.raise_for_status()
    return answer.json()


def fingerprint(refresh_token: str) -> str:
    """The name `token_requests` gives a refresh token."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:16]

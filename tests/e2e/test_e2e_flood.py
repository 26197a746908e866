"""Ten thousand hostile requests at the real service: nothing taken, nothing slowed, little said."""

import json
import random
import secrets
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.doors import LIMIT, SERVICE, TOKEN, free_port, open_doors
from support.hostile import jwt

from broker_tokens.expiry import next_cut
from broker_tokens.simulator.broker import RefreshGrant
from upstox_token_manager import UpstoxTokenManager

REQUESTS, THREADS, SILENT = 10_000, 4, 250

# What the allocator may keep of a flood; a leak of 1 KB a request would be 10 MB.
MOST_GROWTH_KB = 6_000


def milliseconds(instant):
    return str(int(instant.timestamp() * 1000))


def payload(**changes):
    """Return a webhook as it should be, for a token that the broker never gave."""
    now = datetime.now(UTC)
    claims = {"sub": "SIM001", "iat": int(now.timestamp()), "exp": int(next_cut(now).timestamp())}
    content = {
        "client_id": "sim-client",
        "user_id": "SIM001",
        "access_token": jwt(jti=secrets.token_hex(4), **claims),
        "token_type": "Bearer",
        "expires_at": milliseconds(next_cut(now)),
        "issued_at": milliseconds(now),
        "message_type": "access_token",
    }
    return json.dumps(content | changes).encode()


def post(path, body, *, length=None, extra=""):
    """Return a raw POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length or len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def hostile_requests(path, stale):
    """Yield the kinds of request that strangers send, for ever."""
    dice = random.Random(7)
    year = datetime.now(UTC) + timedelta(days=365)
    while True:
        yield post(path, payload(client_id="other"))
        yield post(path, payload(user_id="SIM999"))
        yield post(path, payload(expires_at=milliseconds(year)))
        yield post(path, payload(token_type="Basic"))
        yield post(path, b"{" * 500)
        yield post(path, dice.randbytes(200))
        yield post(path, stale)  # one that was real once, replayed
        yield post(path + "x", payload())
        yield post("/notifier/" + secrets.token_urlsafe(32), payload())
        yield post(path, b"x", length=10**9)
        yield post(path, b"x" * 17_000)
        yield f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        yield b"GET /callback?code=forged&state=forged HTTP/1.1\r\nHost: x\r\n\r\n"
        yield b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n"
        yield dice.randbytes(300) + b"\r\n\r\n"
        yield post(path, b"", extra="Transfer-Encoding: chunked\r\n")


def memory_kb(pid):
    """Return what a process keeps in memory, in KB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0])


def send(port, request):
    """Send one request and read the answer, if there is one."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
        connection.sendall(request)
        connection.recv(2048)


def flood(port, requests, number):
    """Send so many requests from several threads."""
    guard = threading.Lock()

    def work():
        for _ in range(number // THREADS):
            with guard:
                request = next(requests)
            send(port, request)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def test_a_flood_is_refused_and_disturbs_nothing(tmp_path):
    """No token taken, a renewal in its midst, memory and log small, and a real webhook after it."""
    port = free_port()
    with open_doors(tmp_path, RefreshGrant.ROTATING) as doors:
        doors.log_in()
        dead = doors.broker.mint()
        doors.broker.revoke(dead)
        with doors.start(*SERVICE, "--listen", str(port)) as running:
            running.wait_for("Listening")
            running.wait_for("Next:")
            path = f"/notifier/{doors.values['UPSTOX_NOTIFIER_SECRET']}"
            doors.broker.secrets.add(path.removeprefix("/notifier/"))
            requests = hostile_requests(path, payload(access_token=dead))
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(SILENT)]
            for thread in flood(port, requests, REQUESTS // 5):
                thread.join()
            before = memory_kb(running.process.pid)
            threads = flood(port, requests, REQUESTS * 4 // 5)
            doors.set(access_token="")
            running.process.send_signal(1)
            doors.broker.await_request(TOKEN, 2)
            was_in_its_midst = any(thread.is_alive() for thread in threads)
            for thread in threads:
                thread.join()
            for each in silent:
                each.close()
            after = memory_kb(running.process.pid)
            kept = doors.values["access_token"]

            doors.broker.notifier_url = f"http://127.0.0.1:{port}{path}"
            genuine = doors.broker.mint()
            status = doors.broker.send_webhook(genuine)
            running.wait_for("approved on the phone")
            ended, _ = running.stop()

        assert was_in_its_midst
        assert doors.broker.is_live(kept)
        assert status == 200
        assert UpstoxTokenManager(doors.env_file, environ={}).get_current_token() == genuine
        assert after - before < MOST_GROWTH_KB
        assert ended.code == 0
        assert len(doors.log.read_text(encoding="utf-8").splitlines()) < 25

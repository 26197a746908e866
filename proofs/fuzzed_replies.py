"""Hostile replies by chance: mitmproxy between the service and a broker that means well.

It drops, cuts, flips and falsifies the broker's replies, or answers with made-up statuses, headers
and bodies, which hypothesis thinks up.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.doors import free_port
from support.proxies import program, running

from proofs.finding import Finding
from proofs.wire import logged_in


@contextmanager
def _mitmproxy(folder: Path, backend: str) -> Iterator[tuple[str, Path]]:
    """Run mitmproxy before `backend`; give its address and the file of its orders."""
    port, orders = free_port(), folder / "order.json"
    orders.write_text('{"kind": ""}')
    command = [
        *(program("mitmdump"), "--quiet", "--mode", f"reverse:{backend}"),
        *("--listen-host", "127.0.0.1", "--listen-port", str(port)),
        *("--scripts", str(Path(__file__).with_name("mitm_faults.py"))),
        *("--set", f"confdir={folder}", "--set", "connection_strategy=lazy"),
        *("--set", "validate_inbound_headers=false"),
    ]
    with running(command, port, {"FAULT_FILE": str(orders)}):
        yield f"http://127.0.0.1:{port}", orders


_MISHAPS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "drop before": st.fixed_dictionaries({}),
    "drop after": st.fixed_dictionaries({}),
    "flip": st.fixed_dictionaries({"at": st.integers(0, 5000), "bit": st.integers(0, 7)}),
    "cut": st.fixed_dictionaries({"at": st.integers(0, 5000)}),
    "too short": st.fixed_dictionaries({"at": st.integers(0, 100)}),
    "unpacked": st.fixed_dictionaries({}),
    "bomb": st.fixed_dictionaries({}),
}

_FIELD = st.sampled_from(
    [
        *("access_token", "refresh_token", "extended_token", "expires_in", "user_id", "status"),
        *("errors", "error_code", "errorCode", "error", "message", "data"),
    ]
)
_BYTES = st.text(st.characters(max_codepoint=255), max_size=40)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["planted-echo", "eyJ.eyJ.x", "UDAPI100057", "invalid_grant", "9" * 400]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_FIELD, inner, max_size=6),
    max_leaves=12,
)
_HEADER = st.sampled_from(
    [
        *("Content-Type", "Content-Encoding", "Retry-After", "Location", "Set-Cookie", "CF-RAY"),
        *("WWW-Authenticate", "Date", "Connection", "X-Odd", "Content-Length", "Link"),
    ]
)
_VALUE = _BYTES | st.sampled_from(
    [
        *("application/json; charset=utf-7", "text/html", "gzip", "br", "deflate", "gzip, gzip"),
        *("0", "-1", "99999999999999999999", "1e9", "nan", "Thu, 32 Nov 2026 99:99:99 GMT"),
        *("http://127.0.0.1:9/", "//", "close", "planted-echo"),
    ]
)
_ANSWER = st.fixed_dictionaries(
    {
        "status": st.sampled_from([200] * 9 + [204, 301, 307, 400, 401, 403, 404, 429, 500, 503])
        | st.integers(200, 599),
        "headers": st.lists(st.tuples(_HEADER, _VALUE), max_size=4),
        "body": _BYTES | _JSON.map(json.dumps) | st.sampled_from(["[" * 100_000, '{"a":' * 9_999]),
    }
)


def _faults() -> st.SearchStrategy[dict[str, Any]]:
    mishaps = [
        rest.map(lambda found, kind=kind: found | {"kind": kind})  # type: ignore[misc]
        for kind, rest in _MISHAPS.items()
    ]
    return st.one_of(_ANSWER.map(lambda found: found | {"kind": "answer"}), *mishaps)


def fuzzed_replies(count: int) -> Finding:
    """Renew `count` times through mitmproxy, which does something else to each reply."""
    with ExitStack() as stack:
        on_wire = stack.enter_context(logged_in())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        address, orders = stack.enter_context(_mitmproxy(folder, on_wire.house.url))
        on_wire.go_through(address)

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(_faults())
        def renew_through(fault: dict[str, Any]) -> None:
            orders.write_text(json.dumps(fault))
            on_wire.renew(repr(fault)[:300])

        renew_through()
        orders.write_text('{"kind": ""}')
        return on_wire.conclude("replies through mitmproxy")

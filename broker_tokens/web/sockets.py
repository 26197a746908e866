"""Sockets to listen at: one address, or all that a name of this machine itself can mean."""

import errno
import socket

from broker_tokens.errors import TemporaryFailure

_BACKLOG = 128


def bind(host: str, port: int, key: str = "") -> list[socket.socket]:
    """Return listening sockets; `localhost` is taken for 127.0.0.1 and, where there is one, ::1.

    Raises TemporaryFailure, which names the setting `key` if given.
    """
    hosts = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    bound: list[socket.socket] = []
    try:
        for each in hosts:
            try:
                bound.append(_listen(each, port))
            except OSError as error:
                if each == "::1" and bound and error.errno != errno.EADDRINUSE:
                    continue  # a machine without IPv6
                raise
            port = bound[0].getsockname()[1]
    except OSError as error:
        for each_socket in bound:
            each_socket.close()
        raise _cannot_listen(host, port, error, key) from None
    return bound


# Below stand the ports of root; above, Windows keeps some for itself.
_FIRST_FREE_PORT = 1024

# Elsewhere a port is free again at once; on Windows that option would let a second service share
# the port in silence, and only this one keeps others from taking a part of it.
_OWN_PORT: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, _OWN_PORT, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _cannot_listen(host: str, port: int, error: OSError, key: str) -> TemporaryFailure:
    named = f"Port {port}{key and f' of {key}'}"
    if error.errno == errno.EADDRINUSE:
        cause = f"{named} is in use by another program."
        return TemporaryFailure(cause, "Close that program, or choose another port.")
    if error.errno == errno.EACCES and port < _FIRST_FREE_PORT:
        return TemporaryFailure(
            f"{named} may only be used by root.", "Choose one above 1023, with a proxy before it."
        )
    return TemporaryFailure(
        f"It is not possible to listen at {host}, port {port}: {error.strerror}.",
        "Use an address of this machine, such as 127.0.0.1, or another port.",
    )

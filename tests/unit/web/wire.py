"""A client without manners, to be led astray byte by byte."""

import socket

LIMIT = 30


class Wire:
    """One connection to a server of this machine."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)

    def send(self, content: bytes) -> None:
        """Send, whether or not anybody still listens."""
        try:
            self.socket.sendall(content)
        except OSError:
            return

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the reply; status 0 if the line was cut."""
        received = b""
        try:
            while chunk := self.socket.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
        finally:
            self.socket.close()
        head, _, body = received.partition(b"\r\n\r\n")
        if not head:
            return 0, {}, b""
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), headers, body


def talk(port: int, content: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send one request and return the reply."""
    wire = Wire(port)
    wire.send(content)
    return wire.reply()


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a POST with a length."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(target: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

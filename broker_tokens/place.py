"""Where a service listens."""

from dataclasses import dataclass

from broker_tokens.setting_values import LOOPBACK_HOSTS


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine itself can reach it."""
        return self.host in LOOPBACK_HOSTS


def parse_place(text: str) -> Place:
    """Return where `HOST:PORT`, or a port alone on this machine itself, is; raises ValueError."""
    wrong = ValueError(f"{text!r} is not of the form 127.0.0.1:8765, or a port alone")
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise wrong
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise wrong
    return Place(host or "127.0.0.1", int(port))

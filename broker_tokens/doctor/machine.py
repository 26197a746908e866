"""Python, its packages and the zone: imports nothing that may be missing."""

import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from broker_tokens import __version__
from broker_tokens.doctor.finding import Finding, fail, ok, warn

# Import name -> the package's name, and the version that requirements.txt asks for.
NEEDED = {
    "requests": ("requests", "2.33"),
    "dotenv": ("python-dotenv", "1.2.3"),
    "schedule": ("schedule", "1.2.2"),
    "dateutil": ("python-dateutil", "2.9"),
}

# Zones written out, as in `EST5EDT` (POSIX, TZ), and names that need no data.
_NEEDS_NO_DATA = re.compile(r"(UTC|GMT)$|(<[^>]+>|[A-Za-z]{3,})[+-]?\d")

FindVersion = Callable[[str], str | None]


def version_of(name: str) -> str | None:
    """Return the version of the package with this import name, None if it is not installed."""
    try:
        if importlib.util.find_spec(name) is None:
            return None
        return importlib.metadata.version(NEEDED[name][0] if name in NEEDED else name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def check_python(find: FindVersion = version_of) -> Iterator[Finding]:
    """Python, OpenSSL, our own version, and the packages that we stand on."""
    python = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    try:
        import ssl
    except ImportError:  # built without, or its OpenSSL was replaced under it
        remedy = "Install that Python anew, or make the virtual environment with another one."
        yield fail("python", f"{python}, which cannot load its ssl module", remedy)
    else:
        yield ok("python", f"{python}, {ssl.OPENSSL_VERSION}")
    found = {name: find(name) for name in NEEDED}
    versions = [f"{NEEDED[name][0]} {version}" for name, version in found.items() if version]
    if (urllib3 := find("urllib3")) is not None:
        versions.append(f"urllib3 {urllib3}")
    yield ok("versions", ", ".join([f"broker-tokens {__version__}", *versions]))
    for name, version in found.items():
        package, wanted = NEEDED[name]
        if version is None or _numbers(version) < _numbers(wanted):
            what = "is not installed" if version is None else f"{version} is too old"
            yield fail(
                "packages",
                f"the package {package} {what}; {wanted} or newer is needed",
                "Activate the virtual environment (. .venv/bin/activate), or: pip install -r"
                " requirements.txt",
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_zone(now: datetime, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The zone of this machine, which counts for nothing here."""
    local = now.astimezone()
    yield ok(
        "zone",
        f"this machine's is {local.tzname()} ({local:%z}); all times here are IST, whatever it is",
    )
    name = environ.get("TZ", "").removeprefix(":")
    if name and not _NEEDS_NO_DATA.match(name) and not _is_known(name):
        yield warn(
            "zone",
            "TZ names a zone that this machine has no data for, so its programs take UTC for it",
            "Correct TZ, or install the zone data (Debian: apt install tzdata).",
        )


def _is_known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True

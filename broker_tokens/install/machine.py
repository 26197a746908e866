"""The machine that is installed on: all that is asked of it, or changed there, goes through this.

So every kind of installation, of any platform, can be shown and tested on any other.
"""

import getpass
import ntpath
import os
import posixpath
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType

from broker_tokens.env_path import MODULE_FOLDER

# Starting a unit waits until it has looked once; its own limit for that is five minutes.
_LIMIT_SECONDS = 320
# What only looks (`systemctl is-active`) answers at once or is not worth waiting for.
LOOK_SECONDS = 5.0

# As shells say it.
NOT_FOUND = 127
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended, and what it said."""

    code: int
    out: str = ""
    err: str = ""


class Runner:
    """Runs commands of the system with its messages in English; never raises."""

    def __init__(self, environ: Mapping[str, str], uid: int, runtime: str = "/run/user") -> None:
        """`environ` is what the commands see; `runtime` holds a folder for each user's manager."""
        self._environ = {**environ, "LC_ALL": "C"}
        folder = f"{runtime}/{uid}"
        # `su` and cron leave it out, and `systemctl --user` cannot find its manager then.
        if "XDG_RUNTIME_DIR" not in environ and os.path.isdir(folder):
            self._environ["XDG_RUNTIME_DIR"] = folder

    def __call__(
        self, command: Sequence[str], stdin: bytes = b"", limit: float = _LIMIT_SECONDS
    ) -> Completed:
        """Run a command to its end, `limit` seconds at most."""
        try:
            done = subprocess.run(  # noqa: S603 -- our own commands, no shell
                command,
                input=stdin,
                capture_output=True,
                env=self._environ,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Completed(_TIMED_OUT, err=f"no answer within {limit:.0f} s")
        except OSError as error:
            return Completed(NOT_FOUND, err=f"{command[0]}: {error.strerror}")
        return Completed(done.returncode, _text(done.stdout), _text(done.stderr))


def _text(output: bytes) -> str:
    """Return what a command said; surrogates keep bytes that are no UTF-8, such as a crontab's."""
    return output.decode("utf-8", "surrogateescape")


def owner_of(path: str) -> str:
    """Return the account that a file belongs to, "" where that is not known, or no such file."""
    if sys.platform == "win32":  # pragma: no cover -- Windows only
        return ""
    import pwd

    try:
        uid = os.stat(path).st_uid
    except OSError:
        return ""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def home_of(user: str) -> str:
    """Return the home of an account, "" where that is not known, or no such account."""
    if sys.platform == "win32":  # pragma: no cover -- Windows only
        return ""
    import pwd

    with suppress(KeyError):
        return pwd.getpwnam(user).pw_dir
    return ""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose own schedulers are looked at; `other` is its name if it is not who asks."""

    name: str
    home: str
    other: str = ""


@dataclass(frozen=True)
class Machine:
    """A machine as its user sees it.

    `platform` is named as in sys.platform; `root` is the folder that stands for / (tests have
    their own); `interpreter` is that of the virtual environment, and `module_folder` holds
    `token_refresh_service.py`.
    """

    platform: str
    home: str
    user: str
    uid: int
    environ: Mapping[str, str]
    interpreter: str
    run: Callable[..., Completed] = field(repr=False)
    root: str = "/"
    module_folder: str = MODULE_FOLDER
    owner_of: Callable[[str], str] = field(default=owner_of, repr=False)
    home_of: Callable[[str], str] = field(default=home_of, repr=False)

    @property
    def paths(self) -> ModuleType:
        """The arithmetic of its paths."""
        return ntpath if self.platform == "win32" else posixpath

    def accounts(self, env_path: str) -> list[Account]:
        """Return whose own schedulers may look after a `.env`: the user's; for root its owner's."""
        own = Account(self.user, self.home)
        owner = self.owner_of(env_path) if self.uid == 0 else self.user
        home = self.home_of(owner) if owner not in ("", self.user) else ""
        return [own, Account(owner, home, owner)] if home else [own]

    def loose_folder(self, path: str) -> str | None:
        """Return a folder above a path, or above its target, that not only root can change.

        One like /tmp, where each may replace only what is theirs, will do for folders of root's.
        """
        for real in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            folder, above = os.path.dirname(real), real
            while folder != above:
                mode = os.stat(folder).st_mode
                is_shared = mode & 0o022 and not (above != real and mode & stat.S_ISVTX)
                if is_shared or self.owner_of(folder) != "root":
                    return folder
                folder, above = os.path.dirname(folder), folder
        return None

    def place(self, path: str) -> str:
        """Return where a path of the whole machine, such as /etc/cron.d, lies."""
        return os.path.join(self.root, path.lstrip("/"))


def this_machine(environ: Mapping[str, str] | None = None) -> Machine:
    """Return the machine and user that this program runs on and as."""
    surroundings = os.environ if environ is None else environ
    uid: int = getattr(os, "getuid", lambda: -1)()  # Windows has none
    return Machine(
        platform=sys.platform,
        home=os.path.expanduser("~"),
        user=_user(uid),
        uid=uid,
        environ=surroundings,
        # Not resolved: through the link in .venv/bin Python finds that environment's packages.
        interpreter=sys.executable,
        run=Runner(surroundings, uid),
    )


def _user(uid: int) -> str:
    try:
        return getpass.getuser()
    except (OSError, LookupError, ImportError):  # the user of a container may have no name
        return str(uid)

"""A machine that only seems to be one: its system's commands are played, its files are real."""

import plistlib
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from broker_tokens.install.machine import Completed, Machine

DONE = Completed(0)


@dataclass
class Played:
    """A machine below a folder of the test's own.

    `failing` holds the beginnings of commands that fail, with what they say; `missing` the programs
    that it does not have; `interrupted_by` the command at which somebody presses Ctrl-C; `ran`
    every command that was run, as it would be typed. `at_home` is where the user's home lies, while
    any other's is `home`; `crontabs` are those of others.
    """

    folder: Path
    platform: str = "linux"
    user: str = "trader"
    uid: int = 1000
    at_home: str = "home"
    crontab: bytes | None = None
    crontabs: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    interrupted_by: str = ""
    owners: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    active: set[str] = field(default_factory=set)
    enabled: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    tasks: dict[str, bytes] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.folder / self.at_home

    @property
    def user_units(self) -> Path:
        """Where the user's own units are."""
        return self.home / ".config/systemd/user"

    @property
    def root(self) -> Path:
        """What stands for /."""
        return self.folder / "root"

    @property
    def machine(self) -> Machine:
        """What the installation gets."""
        return Machine(
            platform=self.platform,
            home=str(self.home),
            user=self.user,
            uid=self.uid,
            environ=self.environ,
            interpreter=str(self.home / "broker-tokens/.venv/bin/python"),
            run=self.run,
            root=str(self.root),
            module_folder=str(self.home / "broker-tokens"),
            owner_of=lambda path: self.owners.get(path, self.user),
            home_of=lambda _user: str(self.folder / "home"),
        )

    def env_file(self, name: str = "broker-tokens") -> Path:
        """Return a `.env` in a folder of the user's home, made now."""
        path = self.home / name / ".env"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("access_token=\n", encoding="utf-8")
        path.chmod(0o600)
        return path

    def files(self) -> dict[str, bytes]:
        """Return every file below the home and the root, and the crontab."""
        found = {
            str(path): path.read_bytes()
            for path in [*self.home.rglob("*"), *self.root.rglob("*")]
            if path.is_file() and not path.name.endswith(".lock")
        }
        return found | {"crontab": self.crontab or b"", **self.tasks}

    def run(self, command, stdin=b"", limit=60.0):
        """Play a command of the system."""
        typed = shlex.join(command)
        self.ran.append(typed)
        if self.interrupted_by and typed.startswith(self.interrupted_by):
            raise KeyboardInterrupt
        for beginning, words in self.failing.items():
            if typed.startswith(beginning):
                return Completed(1, err=words)
        if command[0] in self.missing:
            return Completed(127, err=f"{command[0]}: No such file or directory")
        return getattr(self, f"_{command[0]}", lambda *_: DONE)(list(command[1:]), stdin)

    def _crontab(self, arguments, stdin):
        if arguments[:2] == ["-l", "-u"]:
            return Completed(0, out=self.crontabs.get(arguments[2], b"").decode())
        if arguments == ["-"]:
            self.crontab = stdin
        elif self.crontab is None:
            return Completed(1, err=f"no crontab for {self.user}")
        elif arguments == ["-r"]:
            self.crontab = None
        else:
            return Completed(0, out=self.crontab.decode("utf-8", "surrogateescape"))
        return DONE

    def _schtasks(self, arguments, stdin):
        deed = arguments[0]
        options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
        name = options.get("/TN", "")
        if deed == "/Create":
            self.tasks[name] = Path(options["/XML"]).read_bytes()
        elif deed == "/Query" and not name:
            exported = (f"<!-- \\{key} -->\n{self._task(key)}\n" for key in sorted(self.tasks))
            return Completed(0, out=f"<?xml version='1.0'?>\n<Tasks>\n{''.join(exported)}</Tasks>")
        elif name not in self.tasks:
            return Completed(1, err="ERROR: The system cannot find the file specified.")
        elif deed == "/Query":
            return Completed(0, out=self._task(name))
        elif deed == "/Delete":
            del self.tasks[name]
        return DONE

    def _task(self, name):
        """Return a task as it is exported: without its declaration."""
        return self.tasks[name].decode("utf-16").partition("?>\n")[2]

    def _launchctl(self, arguments, stdin):
        deed, target, *path = arguments
        if deed == "bootstrap":
            label = plistlib.loads(Path(path[0]).read_bytes())["Label"]
            if f"{target}/{label}" in self.active:
                return Completed(5, err="Bootstrap failed: 5: Input/output error")
            self.active.add(f"{target}/{label}")
        elif deed in ("bootout", "print") and target not in self.active:
            return Completed(3, err="No such process")
        elif deed == "bootout":
            self.active.discard(target)
        return DONE

    def _systemctl(self, arguments, stdin):
        is_user = "--user" in arguments
        deed, *units = [word for word in arguments if not word.startswith("--")]
        folder = self.user_units if is_user else self.root / "etc/systemd/system"
        for unit in units:
            if deed == "is-active":
                is_active = unit in self.active
                return Completed(0 if is_active else 3, out="active" if is_active else "inactive")
            if deed == "is-enabled":
                is_enabled = unit in self.enabled
                return Completed(
                    0 if is_enabled else 1, out="enabled" if is_enabled else "disabled"
                )
            if deed in ("enable", "disable", "restart") and not (folder / unit).exists():
                return Completed(5, err=f"Unit {unit} not found.")
            if deed == "reset-failed":
                self.failed.discard(unit)
            if deed == "enable":
                self.enabled.add(unit)
            if deed == "disable":
                self.enabled.discard(unit)
            if deed == "restart" or "--now" in arguments:
                (self.active.discard if deed == "disable" else self.active.add)(unit)
        return DONE

"""`upstox-token install`: what is shown, done, refused and taken back."""

import codecs

import pytest

from broker_tokens.install import KIND_NAMES, schedulers

KINDS = ["systemd", "systemd-timer", "cron", "launchd", "windows"]
ALL_SCOPES = [(kind, scope) for kind in KINDS for scope in ([], ["--system"])]
PLATFORMS = {"launchd": "darwin", "windows": "win32"}


def set_up(played, kind, scope=()):
    """Make the machine one that the kind is of, and the user one who may do it."""
    played.platform = PLATFORMS.get(kind, "linux")
    played.environ["TEMP"] = str(played.folder)
    if scope:
        as_root(played)


def let_linger(played):
    """Have the user's units run while nobody is logged in, as `loginctl enable-linger` does."""
    mark = played.root / "var/lib/systemd/linger" / played.user
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def as_root(played):
    """Make the machine root's, as `sudo` does; the `.env` stays the trader's."""
    played.owners = {str(played.env_file()): "trader"}
    played.user, played.uid = "root", 0
    played.environ["SUDO_USER"] = "trader"


def test_each_kind_goes_by_its_name():
    """The names on the command line are those that the kinds call themselves."""
    assert {name: kind.name for name, kind in schedulers.KINDS.items()} == {
        k: k for k in KIND_NAMES
    }
    assert set(KINDS) == set(KIND_NAMES)


@pytest.mark.parametrize(("kind", "scope"), ALL_SCOPES)
def test_showing_changes_nothing(played, install_on, kind, scope):
    """Without an option it names every file and command, and leaves the machine as it was."""
    set_up(played, kind, scope)
    env_file = played.env_file()
    before = played.files()
    shown = install_on(played, kind, *scope)

    assert shown.code == 0
    assert played.files() == before
    assert str(env_file) in shown.out
    assert str(played.home / "broker-tokens/.venv/bin/python") in shown.out
    folder = played.home / "broker-tokens"
    assert played.machine.paths.join(folder, "token_refresh_service.py") in shown.out
    assert "--apply" in shown.err
    asking = ("systemctl", "is-active"), ("crontab", "-l"), ("schtasks", "/Query")
    assert not [ran for ran in played.ran if not any({*ask} <= {*ran.split()} for ask in asking)]


@pytest.mark.parametrize(("kind", "scope"), ALL_SCOPES)
def test_what_is_installed_is_what_was_shown(played, install_on, kind, scope):
    """Every new file, and every line of the crontab, stood in what was shown before."""
    set_up(played, kind, scope)
    shown = install_on(played, kind, *scope).out
    before = played.files()
    installed = install_on(played, kind, *scope, "--apply")

    assert installed.code == 0, installed.err
    after = played.files()
    new = {path: content for path, content in after.items() if before.get(path) != content}
    assert new
    for content in new.values():
        encoding = "utf-16" if content.startswith(codecs.BOM_UTF16) else "utf-8"
        assert content.decode(encoding).rstrip() in shown


@pytest.mark.parametrize(("kind", "scope"), ALL_SCOPES)
def test_uninstall_leaves_nothing(played, install_on, kind, scope):
    """After --uninstall every file and the crontab are as before, and nothing is enabled."""
    set_up(played, kind, scope)
    played.env_file()
    before = played.files()
    install_on(played, kind, *scope, "--apply")
    taken_away = install_on(played, kind, *scope, "--uninstall")

    assert taken_away.code == 0, taken_away.err
    assert played.files() == before
    assert not played.enabled | played.active
    assert install_on(played, kind, *scope, "--uninstall").out.startswith("Nothing to take away")


@pytest.mark.parametrize(("kind", "scope"), ALL_SCOPES)
def test_installing_again_updates(played, install_on, kind, scope):
    """Over itself it installs the version of today, once."""
    set_up(played, kind, scope)
    install_on(played, kind, *scope, "--apply")
    once = played.files()
    for path, content in once.items():
        if b"--env-file" in content and path != "crontab":
            with open(path, "wb") as file:
                file.write(content.replace(b".venv/bin/python", b"old/bin/python"))
    if not scope:
        played.crontab = once["crontab"].replace(b".venv", b"old") or None
    again = install_on(played, kind, *scope, "--apply")

    assert again.code == 0, again.err
    assert played.files() == once


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_outlived_its_env_can_be_taken_away(played, install_on, kind):
    """With the `.env` gone, --uninstall still finds it by name and path."""
    set_up(played, kind)
    env_file = played.env_file()
    before = played.files()
    install_on(played, kind, "--apply", env_file=env_file)
    env_file.unlink()
    taken_away = install_on(played, kind, "--uninstall", env_file=env_file)

    assert taken_away.out.startswith("Taken away")
    assert played.files().keys() == before.keys() - {str(env_file)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_env_has_a_name_of_its_own(played, install_on, kind):
    """A name that is taken is refused with what to do; with --name both are there."""
    set_up(played, kind)
    first, second = played.env_file(), played.env_file("second")
    install_on(played, kind, "--apply", env_file=first)
    before = played.files()
    refused = install_on(played, kind, "--apply", env_file=second)

    assert refused.code == 78
    assert str(first) in refused.err
    assert "--name" in refused.err
    assert played.files() == before
    assert install_on(played, kind, "--apply", "--name", "second", env_file=second).code == 0
    assert install_on(played, kind, "--uninstall", "--name", "second", env_file=second).code == 0
    assert played.files() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_not_taken_away_from_another_env(played, install_on, kind):
    """--uninstall for one `.env` leaves alone what looks after another."""
    set_up(played, kind)
    first, second = played.env_file(), played.env_file("second")
    install_on(played, kind, "--apply", env_file=first)
    before = played.files()
    refused = install_on(played, kind, "--uninstall", env_file=second)

    assert (refused.code, played.files()) == (78, before)


@pytest.mark.parametrize("name", ["a b", "../x", "a.b", "", "-x", "a%i", "é"])
def test_a_name_that_some_scheduler_does_not_take(played, install_on, name):
    """Names are letters, digits, - and _: cron.d passes over any other in silence."""
    assert install_on(played, "cron", f"--name={name}").code == 78


@pytest.mark.parametrize("name", ["new\nline", "bell\a", "latin-1 \udce9"])
def test_a_path_that_no_file_can_name(played, install_on, name):
    """A line end in the name of a folder would end the unit's line, too."""
    refused = install_on(played, "cron", env_file=played.env_file(name))

    assert refused.code == 78
    assert "Rename" in refused.err


def test_an_env_that_is_missing(played, install_on):
    """Nothing is shown for a `.env` that is not there."""
    assert install_on(played, "cron", env_file=played.home / "none").code == 78


def of_root(played):
    """Return a `.env` of root's in a folder that only root can change, on root's machine."""
    played.user, played.uid = "root", 0
    env_file = played.env_file()
    for folder in (env_file.parent, played.home):
        folder.chmod(0o755)
    return env_file


def test_root_is_warned_of(played, install_on):
    """A `.env` of root's has the service run as root, which is said."""
    env_file = of_root(played)

    assert "runs as root" in install_on(played, "systemd", "--system", "--apply").err
    assert install_on(played, "systemd", "--system", "--uninstall", env_file=env_file).code == 0


@pytest.mark.parametrize("whose", ["folder", "home", "its real folder"])
@pytest.mark.parametrize("mode", [0o755, 0o775, 0o757])
def test_root_runs_nothing_that_another_could_put_there(played, install_on, whose, mode):
    """Where another can put a `.env` of theirs in the place of root's, nothing runs as root."""
    real = of_root(played)
    env_file = real.parent.with_name("linked") / ".env"
    env_file.parent.mkdir(mode=0o755)
    env_file.symlink_to(real)
    folder = {"folder": env_file.parent, "home": played.home, "its real folder": real.parent}[whose]
    folder.chmod(mode)
    played.owners = {str(folder): "trader"} if mode == 0o755 else {}
    before = played.files()
    refused = install_on(played, "systemd", "--system", "--apply", env_file=env_file)
    shown = install_on(played, "systemd", "--system", env_file=env_file)

    assert refused.code == 78
    assert str(folder) in refused.err
    assert "chown" in refused.err
    assert "refused" in shown.err
    assert played.files() == before
    assert install_on(played, "systemd", "--system", "--uninstall", env_file=env_file).code == 0


@pytest.mark.parametrize(("whose", "code"), [("the file", 78), ("the folder", 0)])
def test_root_in_a_folder_like_tmp(played, install_on, whose, code):
    """There a folder of root's is safe; beside a file others could put the files that it needs."""
    env_file = of_root(played)
    (env_file.parent if whose == "the file" else played.home).chmod(0o1777)

    assert install_on(played, "systemd", "--system", "--apply").code == code


def test_a_link_to_a_file_of_roots(played, install_on):
    """A trader's `.env` that leads to a file of root's makes no service of root's."""
    as_root(played)
    real = played.root / "real.env"
    real.write_text("access_token=\n", encoding="utf-8")
    env_file = played.env_file()
    env_file.unlink()
    env_file.symlink_to(real)
    played.owners = {str(env_file.parent): "trader"}
    refused = install_on(played, "cron", "--system", "--apply", env_file=env_file)

    assert refused.code == 78
    assert not list(played.root.rglob("cron.d/*"))


def test_system_needs_root(played, install_on):
    """--system as an ordinary user changes nothing and says what to put before it."""
    refused = install_on(played, "systemd", "--system", "--apply")

    assert refused.code == 78
    assert "sudo" in refused.err
    assert not played.enabled


def test_sudo_without_system_would_install_for_root(played, install_on):
    """A `.env` of the trader is not handed to root's own units by a `sudo` too many."""
    as_root(played)
    refused = install_on(played, "systemd", "--apply")

    assert refused.code == 78
    assert "--system" in refused.err


def test_a_system_unit_runs_as_the_owner_of_the_env(played, install_on):
    """User= is who can read the `.env`, whoever typed sudo."""
    as_root(played)
    played.owners = {str(played.env_file()): "algo"}
    shown = install_on(played, "systemd", "--system").out

    assert "\nUser=algo\n" in shown
    assert "trader" not in shown.replace(str(played.folder), "")


def test_listen_is_for_what_keeps_running(played, install_on):
    """--listen reaches the service's command line; for --once it is refused."""
    shown = install_on(played, "systemd", "--listen", "[::1]:8765")

    assert '--listen "[::1]:8765"' in shown.out
    assert install_on(played, "cron", "--listen", "8765").code == 78


@pytest.mark.parametrize("failing", ["systemctl --user daemon-reload", "systemctl --user restart"])
def test_a_failure_half_way_is_undone(played, install_on, failing):
    """What was done before the failure is taken back, and both are said."""
    played.env_file()
    before = played.files()
    played.failing = {failing: "Failed to connect to bus: No medium found"}
    failed = install_on(played, "systemd", "--apply")

    assert failed.code == 78
    assert played.files() == before
    assert not played.enabled | played.active
    assert "No medium found" in failed.err
    assert "upstox-token-refresh.service" in failed.err


def test_a_failed_update_keeps_the_old_version(played, install_on):
    """When the new version does not start, the old one is there and running again."""
    install_on(played, "systemd", "--apply")
    before = played.files()
    played.failing = {"systemctl --user enable": "Access denied"}
    failed = install_on(played, "systemd", "--apply", "--listen", "8765")

    assert failed.code == 78
    assert played.files() == before
    assert "upstox-token-refresh.service" in played.active


@pytest.mark.parametrize("kind", KINDS)
def test_a_slip_in_the_env_is_told_before_anything_is_changed(played, install_on, kind):
    """Nothing is installed that would only fail; what runs runs on, and the wrong key is named."""
    set_up(played, kind)
    env_file = played.env_file()
    install_on(played, kind, "--apply", env_file=env_file)
    env_file.write_text("UPSTOX_SESSION=soon\n", encoding="utf-8")
    before, active = played.files(), set(played.active)
    played.ran.clear()
    refused = install_on(played, kind, "--apply", env_file=env_file)
    shown = install_on(played, kind, env_file=env_file)

    assert refused.code == 78
    assert "UPSTOX_SESSION" in refused.err
    assert "UPSTOX_SESSION" in shown.err
    assert (played.files(), played.active) == (before, active)
    assert not any("restart" in ran for ran in played.ran)
    assert install_on(played, kind, "--uninstall", env_file=env_file).code == 0


def test_an_env_that_cannot_be_read(played, install_on):
    """It is told, and what would be installed is shown all the same."""
    env_file = played.env_file()
    env_file.write_bytes(b"UPSTOX_SESSION=\xff\n")
    shown = install_on(played, "cron", env_file=env_file)

    assert shown.code == 0
    assert "refused" in shown.err
    assert install_on(played, "cron", "--apply", env_file=env_file).code != 0
    assert played.crontab is None


def test_an_old_version_that_does_not_start_again_is_told(played, install_on):
    """Where the failure lies elsewhere, the service is down after the undoing: it is said."""
    install_on(played, "systemd", "--apply")
    before = played.files()
    played.failing = {"systemctl --user restart": "Job failed"}
    failed = install_on(played, "systemd", "--apply", "--listen", "8765")

    assert failed.code == 78
    assert played.files() == before
    undone = failed.err.partition("Could not be undone: ")[2]
    assert "systemctl --user restart upstox-token-refresh.service" in undone


def test_lingering_that_is_on_is_not_asked_for(played, install_on):
    """An account that lingers already may not be allowed to say so again."""
    let_linger(played)
    played.failing = {"loginctl": "Access denied"}
    installed = install_on(played, "systemd", "--apply")

    assert installed.code == 0
    assert "lingering" not in installed.err


def test_nothing_of_a_unit_that_failed_is_left(played, install_on):
    """systemd forgets the timer, and the service that it started."""
    install_on(played, "systemd-timer", "--apply")
    played.failed = {"upstox-token-once.service", "upstox-token-once.timer"}
    install_on(played, "systemd-timer", "--uninstall")

    assert not played.failed


def test_a_refused_lingering_is_told(played, install_on):
    """Without lingering it runs only while the user is logged in: installed, and said."""
    played.failing = {"loginctl": "Access denied"}
    installed = install_on(played, "systemd", "--apply")

    assert installed.code == 0
    assert "sudo loginctl enable-linger trader" in installed.err
    assert "upstox-token-refresh.service" in played.enabled


def test_a_machine_without_systemd(played, install_on):
    """It says so, points to cron, and leaves nothing."""
    played.missing = ("systemctl", "loginctl")
    played.env_file()
    before = played.files()
    failed = install_on(played, "systemd", "--apply")

    assert failed.code == 78
    assert "cron" in failed.err
    assert played.files() == before


def test_a_machine_without_cron(played, install_on):
    """It says that crontab is missing; what would be done is shown all the same."""
    played.missing = ("crontab",)
    shown = install_on(played, "cron")

    assert shown.code == 0
    assert "--once" in shown.out
    assert "crontab" in shown.err
    assert install_on(played, "cron", "--apply").code == 78


def test_ctrl_c_half_way_is_undone(played, install_on):
    """Interrupted while the service starts, nothing of it stays."""
    played.env_file()
    before = played.files()
    played.interrupted_by = "systemctl --user restart"
    ended = install_on(played, "systemd", "--apply")

    assert ended.code == 130
    assert played.files() == before
    assert not played.enabled

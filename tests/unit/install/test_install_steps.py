"""Steps on real files, and commands that are really run."""

import os
import sys

import pytest

from broker_tokens.errors import ConfigurationError
from broker_tokens.install.machine import Runner, owner_of, this_machine
from broker_tokens.install.steps import RemoveFile, RunCommand, WriteFile, carry_out


class Fails:
    """A step that fails."""

    title = "fail"

    def shown(self):
        return ""

    def do(self, machine):
        raise ConfigurationError("It went wrong.", "Mend it.")


def failed(steps, machine=None):
    """Return what is said when the last step fails."""
    with pytest.raises(ConfigurationError) as caught:
        carry_out([*steps, Fails()], machine, print)
    return str(caught.value)


def test_files_are_put_back(tmp_path):
    """A file written anew, one that is new, and one removed: all as they were."""
    old, new, gone = tmp_path / "old", tmp_path / "deep/new", tmp_path / "gone"
    old.write_bytes(b"1")
    gone.write_bytes(b"2")
    said = failed(
        [
            WriteFile(str(old), b"x"),
            WriteFile(str(new), b"y"),
            RemoveFile(str(gone)),
            RemoveFile(str(tmp_path / "never")),
        ]
    )

    assert old.read_bytes() == b"1"
    assert gone.read_bytes() == b"2"
    assert not new.exists()
    assert "Mend it.\nUndone again: remove" in said
    assert "never" not in said


def test_a_failure_of_the_first_step_changes_nothing():
    """Which is said."""
    assert failed([]) == "It went wrong. Mend it.\nNothing was changed."


def test_what_cannot_be_undone_is_named(tmp_path):
    """A person knows what is left to do."""
    path = tmp_path / "folder" / "file"

    class Rival(Fails):
        def do(self, machine):
            path.unlink()
            path.mkdir()
            super().do(machine)

    with pytest.raises(ConfigurationError, match=f"Could not be undone: write {path}"):
        carry_out([WriteFile(str(path), b"x"), Rival()], None, print)


def test_a_file_is_for_all_to_read(tmp_path):
    """systemd and cron read it, whatever the umask; no half of it is ever seen or left."""
    mask = os.umask(0o077)
    try:
        WriteFile(str(tmp_path / "unit"), b"x").do(None)
    finally:
        os.umask(mask)

    assert (tmp_path / "unit").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["unit"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_file_is_written_past_what_lies_about(tmp_path):
    """No link of a name that can be guessed leads what is written elsewhere."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    link = tmp_path / "unit.broker-tokens-new~"
    link.symlink_to(mine)
    WriteFile(str(tmp_path / "unit"), b"x").do(None)

    assert mine.read_bytes() == b"mine"
    assert link.is_symlink()
    assert (tmp_path / "unit").read_bytes() == b"x"


@pytest.mark.parametrize("step", [WriteFile, RemoveFile])
def test_a_folder_in_the_files_place(tmp_path, step):
    """It is named, in words."""
    arguments = [str(tmp_path)] + ([b"x"] if step is WriteFile else [])

    with pytest.raises(ConfigurationError, match="cannot be read"):
        step(*arguments).do(None)


def test_a_file_in_the_folders_place(tmp_path):
    """Nothing is written, and no temporary file is left."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ConfigurationError, match="cannot be written"):
        WriteFile(str(tmp_path / "file" / "unit"), b"x").do(None)
    assert os.listdir(tmp_path) == ["file"]


def test_a_command_is_run(tmp_path):
    """With its input, in English, to its exit code; a missing or a slow one is an answer, too."""
    run = Runner({"PATH": os.environ["PATH"], "LC_ALL": "hi_IN.UTF-8"}, 4711)
    echoed = run(["cat"], stdin="é".encode())
    failing = run(["sh", "-c", "echo $LC_ALL >&2; exit 3"])
    missing = run(["no-such-program"])
    slow = run([sys.executable, "-c", "input()"], limit=0.01)

    assert (echoed.code, echoed.out) == (0, "é")
    assert (failing.code, failing.err) == (3, "C\n")
    assert (missing.code, missing.err) == (127, "no-such-program: No such file or directory")
    assert slow.code != 0


def test_the_users_manager_is_found(tmp_path):
    """Where `su` left XDG_RUNTIME_DIR out, the folder that is there for the user is named."""
    (tmp_path / "4711").mkdir()
    show = ["sh", "-c", "echo $XDG_RUNTIME_DIR"]

    assert Runner({}, 4711, str(tmp_path))(show).out == f"{tmp_path}/4711\n"
    assert Runner({}, 4712, str(tmp_path))(show).out == "\n"


def test_a_failed_command_says_what_it_said(played):
    """Its last words, or its exit code."""
    played.failing = {"a": "it\nhurts", "b": ""}

    with pytest.raises(ConfigurationError, match="`a x` failed: it hurts. Rest."):
        RunCommand(("a", "x"), advice="Rest.").do(played.machine)
    with pytest.raises(ConfigurationError, match="`b` failed: exit code 1"):
        RunCommand(("b",)).do(played.machine)


def test_this_machine(tmp_path):
    """The interpreter is the virtual environment's own, and a file's owner has a name."""
    machine = this_machine({})
    (tmp_path / "x").touch()

    assert machine.interpreter == sys.executable
    assert os.path.isfile(os.path.join(machine.module_folder, "token_refresh_service.py"))
    assert owner_of(str(tmp_path / "x")) == machine.user
    assert owner_of(str(tmp_path / "none")) == ""


def test_a_user_without_a_name(monkeypatch):
    """A container's user is its number; looking at the machine ends in no defect."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)

    assert this_machine({}).user == str(os.getuid())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_an_owner_without_a_name(tmp_path):
    """Is told by its number."""
    os.chown(tmp_path, 54_321, -1)

    assert owner_of(str(tmp_path)) == "54321"

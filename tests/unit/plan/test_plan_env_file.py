"""Where the `.env` is looked for, and in which order."""

import os
import shutil
from pathlib import Path

import pytest

from broker_tokens import env_path
from broker_tokens.env_path import find_env_file
from broker_tokens.errors import EXIT_CONFIGURATION, ConfigurationError


def found(argument, environ, places):
    return Path(find_env_file(argument, environ, str(places["cwd"]), str(places["modules"])))


@pytest.fixture
def places(tmp_path) -> dict[str, Path]:
    """A working folder two levels down, and the folder of the modules."""
    made = {"cwd": tmp_path / "a" / "b", "parent": tmp_path / "a", "modules": tmp_path / "m"}
    for folder in made.values():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".env").touch()
    (tmp_path / "named").touch()
    (tmp_path / "in-environment").touch()
    return {**made, "top": tmp_path}


def test_the_file_is_looked_for_in_the_documented_order(places):
    """Argument, UPSTOX_ENV_FILE, working folder, nearest parent, beside the modules."""
    top, cwd = places["top"], places["cwd"]
    environ = {"UPSTOX_ENV_FILE": str(top / "in-environment")}

    def find(argument=None, surroundings=None):
        return found(argument, surroundings or {}, places)

    assert find(str(top / "named"), environ) == top / "named"
    assert find("../../named", environ).resolve() == top / "named"
    assert find(None, environ) == top / "in-environment"
    assert find(None, {"UPSTOX_ENV_FILE": "  "}) == cwd / ".env"
    assert find() == cwd / ".env"
    (cwd / ".env").unlink()
    assert find() == places["parent"] / ".env"
    (places["parent"] / ".env").unlink()
    assert find() == places["modules"] / ".env"


def test_a_folder_named_env_is_no_file(places):
    """A virtual environment is often called `.env`, too."""
    (places["cwd"] / ".env").unlink()
    (places["cwd"] / ".env").mkdir()

    assert found(None, {}, places) == places["parent"] / ".env"


def test_a_named_file_that_is_missing_is_not_replaced_by_another(places):
    """Whoever names a file means that one."""
    for argument, environ in (
        (str(places["top"] / "gone"), {}),
        (None, {"UPSTOX_ENV_FILE": "gone"}),
    ):
        with pytest.raises(ConfigurationError, match="gone"):
            found(argument, environ, places)


def test_a_home_is_filled_in_and_a_strangers_is_no_defect(places, monkeypatch):
    """`~` is the home; `~nobody-by-this-name` is a file that is not there."""
    monkeypatch.setenv("HOME", str(places["top"]))

    assert found("~/named", {}, places) == places["top"] / "named"
    with pytest.raises(ConfigurationError, match="nobody-by-this-name"):
        found("~nobody-by-this-name/x", {}, places)


def test_the_error_names_every_place_once(places):
    """The user sees where the file could be put."""
    for name in ("cwd", "parent", "modules"):
        (places[name] / ".env").unlink()

    with pytest.raises(ConfigurationError) as caught:
        found(None, {}, places)

    looked = [place / ".env" for place in (places["cwd"], *places["cwd"].parents)]
    for place in (*looked, places["modules"] / ".env"):
        assert str(place) in caught.value.cause
    assert caught.value.cause.count(os.sep + ".env") == len(looked) + 1
    assert caught.value.exit_code == EXIT_CONFIGURATION


def test_a_working_folder_that_is_gone_is_no_defect(places, monkeypatch):
    """A named file is found all the same; without one the error is for people."""
    monkeypatch.setattr(env_path, "MODULE_FOLDER", str(places["top"]))
    monkeypatch.chdir(places["cwd"])
    shutil.rmtree(places["cwd"])

    assert env_path.locate(str(places["top"] / "named"), {}) == str(places["top"] / "named")
    with pytest.raises(ConfigurationError, match="looked at"):
        env_path.locate(None, {})

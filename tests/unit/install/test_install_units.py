"""systemd's own rules: what a rendered unit says is what systemd reads, whatever the paths."""

import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from support.machines import Played
from unit.install.nasty import NASTY, nasty_machine, paths

from broker_tokens.install import unit_syntax
from broker_tokens.install.job import make_job
from broker_tokens.install.schedulers import find_schedulers
from broker_tokens.install.systemd import SERVICE, TIMER
from broker_tokens.install.units import render_text

TEMPLATE = """\
# systemd unit, by hand:
#   1. Change it.

[Unit]
Description=Keeps a live Upstox access token in .env
# >>> system units only
# Why.
Wants=network-online.target
# <<< system units only
# Tells you.
OnFailure=upstox-token-alert@%n.service

[Service]
# CHANGE: the account,
# and more of it.
User=trader
# The folder.
WorkingDirectory=/home/trader/broker-tokens
ExecStart=@/.venv/bin/python @/token_refresh_service.py --env-file @/.env
ExecReload=/bin/kill -HUP $MAINPID
ExecStopPost=-@/.venv/bin/python -m broker_tokens notify %n
#LoadCredential=x:/etc/x
Type=simple
# >>> system units only
ReadWritePaths=/home/trader/broker-tokens
# <<< system units only

[Install]
# user units: WantedBy=default.target
WantedBy=multi-user.target
""".replace("@/", "/home/trader/broker-tokens/")


def rendered(tmp_path, name="broker-tokens", **options):
    machine, place = nasty_machine(tmp_path, name)
    return render_text(TEMPLATE, make_job(str(place / ".env"), machine, **options), machine)


def test_a_users_unit(tmp_path):
    """What only the system can do is left out, and what is otherwise for users is put in."""
    text = rendered(tmp_path)

    assert "User=" not in text
    assert "ReadWritePaths" not in text
    assert "network-online" not in text
    assert "system units only" not in text
    assert text.endswith("[Install]\nWantedBy=default.target\n")


def test_a_system_unit(tmp_path):
    """All of the template is there but the marks and what says how to do it by hand."""
    text = rendered(tmp_path, is_system=True)

    assert "Wants=network-online.target\n" in text
    assert "ReadWritePaths=" in text
    assert "WantedBy=multi-user.target\n" in text
    assert "# Why.\n" in text
    assert "# The folder.\n" in text
    assert not re.search("CHANGE|and more of it|user units:|system units only|by hand", text)


def test_an_env_behind_a_link(tmp_path):
    """Where `.env` is a link, the folder that it leads to can be written to, as well."""
    machine, place = nasty_machine(tmp_path, "broker-tokens")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (place / ".env").rename(elsewhere / "real.env")
    (place / ".env").symlink_to(elsewhere / "real.env")
    text = render_text(TEMPLATE, make_job(f"{place}/.env", machine, is_system=True), machine)

    assert f'\nReadWritePaths={place} "{elsewhere}"\n' in text


def test_another_name_is_everywhere(tmp_path):
    """OnFailure= leads to the alert of the same name."""
    machine, place = nasty_machine(tmp_path, "y")
    job = make_job(str(place / ".env"), machine, name="second")
    text = render_text(TEMPLATE, job, machine)

    assert "\nOnFailure=second-alert@%n.service\n" in text
    assert "upstox-token-" not in text.replace("upstox-token install", "")


# systemd 252, load-fragment.c and extract-word.c, in its own words and nothing of ours.
def systemd_words(line):
    """Return the words of a command line as systemd makes them: quotes, then %, then $."""
    words, word, quote = [], None, ""
    signs = iter(line)
    for sign in signs:
        if sign == "\\":
            following = next(signs)
            assert following in "\\\"'", "an escape of C that is none of a path"
            word = (word or "") + following
        elif quote:
            word, quote = (word, "") if sign == quote else (word + sign, quote)
        elif sign in "\"'":
            word, quote = word or "", sign
        elif sign in " \t":
            words, word = ([*words, word], None) if word is not None else (words, None)
        else:
            word = (word or "") + sign
    assert not quote
    words = [*words, word] if word is not None else words
    return [specifiers(each) for each in words]


def specifiers(text):
    assert not re.search("%[^%]", text.replace("%%", "")), "a specifier"
    return text.replace("%%", "%")


def variables(word):
    """What systemd makes of an argument: it expands ${X}, a lone $X, and halves $$."""
    assert not re.search(r"\$", word.replace("$$", "")), "a variable"
    return word.replace("$$", "$")


def is_program(path):
    """Whether systemd takes it as a program: string_is_safe() refuses quotes and backslashes."""
    return not re.search("[\"'\\\\]", path) and path.startswith("/")


@given(paths, paths)
def test_a_command_line_is_read_as_it_was_meant(program, argument):
    """Any two paths: the program is one that systemd takes, and every argument arrives."""
    line = unit_syntax.command_line([f"/{program}", f"/{argument}", "--once"])
    first, *rest = systemd_words(line)
    assert is_program(first)
    words = [first, *map(variables, rest)]
    if words[:1] == ["/bin/sh"]:
        said = subprocess.run(
            ["/bin/sh", "-c", 'set -- "${@}"; printf "%s\\n" "$0" "$@"', *words[3:]],
            capture_output=True,
            check=True,
        ).stdout.decode()
        assert words[1:3] == ["-c", 'exec "$0" "$@"']
        words = said.split("\n")[:-1]

    assert words == [f"/{program}", f"/{argument}", "--once"]
    assert unit_syntax.words_of(line) == words


@given(paths)
def test_a_lone_path_is_read_as_it_was_meant(path):
    """WorkingDirectory= knows no quotes: only % is doubled, and a bad end is made a good one."""
    value = unit_syntax.lone_path(f"/{path}")

    assert not value.endswith((" ", "\\"))
    assert specifiers(value).rstrip("/") == f"/{path}".rstrip("/")
    assert unit_syntax.path_of(value, "/home/x").rstrip("/") == f"/{path}".rstrip("/")


@pytest.mark.parametrize("scope", [False, True])
@pytest.mark.parametrize("name", ["broker-tokens", *NASTY[2:5]])
def test_systemd_has_nothing_to_say(tmp_path, name, scope):
    """`systemd-analyze verify` is silent on units with nasty paths; it exits 0 on unknown keys."""
    if shutil.which("systemd-analyze") is None:
        assert not os.environ.get("CI"), "CI installs systemd"
        pytest.skip("systemd-analyze is not installed")
    machine, place = nasty_machine(tmp_path, name)
    job = make_job(str(place / ".env"), machine, is_system=scope)
    units = tmp_path / "units"
    units.mkdir()
    for path, text in {**SERVICE.files(job, machine), **TIMER.files(job, machine)}.items():
        (units / os.path.basename(path)).write_text(text, encoding="utf-8")
    names = [name for name in os.listdir(units) if "@" not in name]
    checked = subprocess.run(
        ["systemd-analyze", "verify", *(() if scope else ("--user",)), *sorted(names)],
        cwd=units,
        env={
            "PATH": os.environ["PATH"],
            "SYSTEMD_UNIT_PATH": f"{units}:",
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("kind", [SERVICE, TIMER])
@pytest.mark.parametrize("name", ["broker-tokens", *NASTY])
def test_an_installed_unit_is_found_again(tmp_path, name, kind):
    """Whatever the path, the unit is known to look after this `.env`, and after no other."""
    machine, place = nasty_machine(tmp_path, name)
    other = Played(tmp_path).env_file("other")
    job = make_job(str(place / ".env"), machine, name="mine")
    for path, text in kind.files(job, machine).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    (found,) = find_schedulers(job.env_path, machine)

    assert (found.kind, found.is_system, found.name) == (kind.name, False, "mine")
    assert kind.owner(job, machine) == job.env_path
    assert find_schedulers(str(other), machine) == []

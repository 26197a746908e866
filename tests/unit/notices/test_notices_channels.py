"""The child that speaks to apprise: told by standard input alone, so that no list shows a password.

A stand-in for apprise writes down what it is told, and what its process looks like from outside.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unit.notices.occasions import alarm

from broker_tokens.notices import channels
from broker_tokens.notices.words import notice_of
from broker_tokens.secrets import redact
from broker_tokens.settings import load_settings

MAIL = "mailto://me:planted-s3cret@mail.example"
TOPIC = "ntfy://planted-t0pic"

APPRISE = """
import json, logging, os, sys

class Apprise:
    def add(self, address):
        self.address = address
        return "unknown" not in address

    def notify(self, title, body):
        logging.getLogger("apprise").critical("failed: %s", self.address)
        told = dict(
            address=self.address, title=title, body=body,
            argv=sys.orig_argv, environ=dict(os.environ), path=sys.path[0],
        )
        with open(os.environ["TOLD"], "a") as file:
            file.write(json.dumps(told) + "\\n")
        return "refused" not in self.address
"""


@pytest.fixture
def send(tmp_path):
    """Send the alarm through addresses; return how each went, and what the stand-in was told."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "apprise.py").write_text(APPRISE, encoding="utf-8")
    told = tmp_path / "told"
    environ = {
        "PATH": os.defpath,
        "PYTHONPATH": str(folder),
        "TOLD": str(told),
        "UPSTOX_NOTIFY_URLS": "planted-s3cret",
        "access_token": "planted-s3cret",
    }

    def send_it(*addresses, **keys):
        settings = load_settings({"UPSTOX_NOTIFY_URLS": ",".join(addresses), **keys}, {})
        results = list(channels.send(notice_of(alarm()), settings, environ, redact))
        lines = told.read_text().splitlines() if told.exists() else []
        return dict(results), [json.loads(line) for line in lines]

    return send_it


def test_each_address_is_told_by_a_process_of_its_own(send):
    """The same words to each."""
    results, told = send(MAIL, TOPIC)
    notice = notice_of(alarm())

    assert list(results) == ["mailto (address 1)", "ntfy (address 2)"]
    assert [finished.problem for finished in results.values()] == ["", ""]
    assert [each["address"] for each in told] == [MAIL, TOPIC]
    assert {(each["title"], each["body"]) for each in told} == {(notice.title, notice.body)}


def test_no_address_is_in_a_command_line_or_an_environment(send):
    """Any user of the machine can list the first, and a crash report holds the second."""
    _, told = send(MAIL, TOPIC)
    outside = [json.dumps([each["argv"], each["environ"]]) for each in told]

    assert len(outside) == 2
    assert not any("planted" in text for text in outside)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nosuch://planted-unknown", "apprise does not understand the address"),
        ("ntfy://planted-refused", "the service did not take the message"),
    ],
)
def test_what_fails_is_said_without_the_address(send, address, words):
    """apprise's own log lines, which may hold it, are kept back; the next one is told."""
    results, told = send(address, TOPIC)
    first, second = results.values()

    assert "failed with exit code 1" in first.problem
    assert first.said == words
    assert second.problem == ""
    assert told[-1]["address"] == TOPIC
    assert "planted" not in repr(results)


def test_a_module_beside_the_child_is_taken_for_none_of_pythons(send):
    """The folder of notices holds names of its own, which must hide nothing from apprise."""
    _, told = send(TOPIC)

    assert not told[0]["path"].endswith("notices")


def test_an_address_and_a_program_are_both_told(send, tmp_path):
    """The program comes last; it is named by its key."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/heard\n")
    program.chmod(0o700)
    results, told = send(TOPIC, UPSTOX_NOTIFY_COMMAND=str(program))

    assert list(results) == ["ntfy (address 1)", "UPSTOX_NOTIFY_COMMAND"]
    assert len(told) == 1
    assert "ALARM" in (tmp_path / "heard").read_text()


@pytest.mark.parametrize(
    ("keys", "is_any"),
    [
        ({}, False),
        ({"UPSTOX_NOTIFY_URLS": " ", "UPSTOX_NOTIFY_COMMAND": " "}, False),
        ({"UPSTOX_NOTIFY_URLS": TOPIC}, True),
        ({"UPSTOX_NOTIFY_COMMAND": "tell"}, True),
        ({"UPSTOX_ON_RENEW": "restart"}, False),
    ],
)
def test_somebody_is_there_with_an_address_or_a_program(keys, is_any):
    """The command after a renewal is nobody who can be told."""
    assert channels.is_any_configured(load_settings(keys, {})) is is_any


def test_without_apprise_the_child_names_the_remedy(tmp_path):
    """And nothing of what it was told."""
    child = Path(channels.__file__).with_name("apprise_child.py")
    (tmp_path / "apprise.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    order = {"address": MAIL, "title": "t", "body": "b"}
    ended = subprocess.run(
        [sys.executable, "-P", str(child)],
        env={"PYTHONPATH": str(tmp_path)},
        input=json.dumps(order).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    assert ended.stderr == b"apprise is not installed: pip install -e '.[notify]'\n"
    assert ended.stdout == b""

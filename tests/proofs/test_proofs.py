"""The short selection of `make prove`, and the command itself."""

import os
import random

import pytest

from broker_tokens.policy import RenewSilently, Wait
from proofs import crash, env_files, years
from proofs.__main__ import main, write_figures
from proofs.catalogue import ALL
from proofs.finding import Finding


@pytest.mark.parametrize("proof", ALL, ids=lambda proof: proof.name)
def test_the_promise_holds(proof):
    """A few cases of each proof; `make prove` tries all of them."""
    missing = proof.missing()
    if missing and not os.environ.get("CI"):
        pytest.skip(f"needs {', '.join(missing)}")
    assert not missing

    finding = proof.run(proof.few)

    assert finding.broken == []
    assert finding.tried
    assert finding.survived


def test_a_torn_write_is_found(monkeypatch):
    """The proof of random kills fails for a writer that writes in place."""

    def save_in_place(path, number):
        with open(path, "r+b") as file:
            file.write(crash.content(number))
            file.truncate()

    monkeypatch.setattr(crash, "save", save_in_place)
    assert any("torn" in broken for broken in crash.random_kills(20).broken)


def test_a_changed_byte_is_found(monkeypatch):
    """The proof of kept bytes fails for a writer that mends line ends."""
    with_values = env_files.EnvText.with_values

    def mending(self, updates):
        return with_values(self, updates).replace(b"\r\n", b"\n")

    monkeypatch.setattr(env_files.EnvText, "with_values", mending)
    assert env_files.bytes_are_kept(50).broken


def test_an_uncovered_minute_is_found(monkeypatch):
    """The years fail for a plan that forgets to renew after 03:30."""

    def forgetful(now, situation, rules):
        due = years_decide(now, situation, rules)
        is_early = now.hour < 12
        return Wait(now + years.MINUTE) if is_early and isinstance(due, RenewSilently) else due

    years_decide = years.decide
    monkeypatch.setattr(years, "decide", forgetful)
    run = years.Run(years.WORLDS[0], 20, random.Random(1)).run()

    assert run.uncovered[years.UNTOLD] > 0
    assert run.broken


def test_the_command_prints_and_writes_one_table(tmp_path, capsys):
    """What is printed is also put between the marks of the document, with commit and date."""
    document = tmp_path / "d.md"
    document.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")

    assert main(["--few", "--write", str(document), "bytes"]) == 0

    printed = capsys.readouterr().out
    text = document.read_text()
    assert printed.strip() in text
    assert "2,000 files | 2,000 files | nothing |" in printed
    assert "at commit" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_broken_promise_ends_with_1(monkeypatch, capsys):
    """The exit code tells a script what the table tells a person."""
    broken = Finding("1 file", "0 files", [f"file {number}" for number in range(7)])
    monkeypatch.setattr("proofs.catalogue.Proof.missing", lambda self: [])
    proof = ALL[0]
    monkeypatch.setattr("proofs.__main__.ALL", (type(proof)("x", "p|q", lambda n: broken, 1, 1),))

    assert main([]) == 1
    assert "| p\\|q | 1 file | 0 files | file 0; file 1" in capsys.readouterr().out


def test_a_proof_that_cannot_be_run_is_not_passed_over(monkeypatch, capsys):
    """Where a part is missing, the table says so and the command fails."""
    monkeypatch.setattr("proofs.catalogue.Proof.missing", lambda self: ["strace"])

    assert main(["bytes"]) == 1
    assert "not run: needs strace" in capsys.readouterr().out


@pytest.mark.parametrize("old", ["", "x\n", "| x |\n\n| y |\n"])
def test_figures_replace_only_figures(tmp_path, old):
    """Nothing outside the marks is touched; at first there is nothing between them."""
    document = tmp_path / "d.md"
    document.write_text(f"a\n<!-- figures -->\n{old}<!-- end of figures -->\nb\n")
    write_figures(document, "| \\1 |")
    assert document.read_text() == ("a\n<!-- figures -->\n| \\1 |\n<!-- end of figures -->\nb\n")

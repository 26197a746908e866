"""Paths that every scheduler's own quoting must bring through."""

from dataclasses import replace

from hypothesis import strategies as st
from support.machines import Played

NASTY = [
    "a blank",
    "per%cent",
    '100%\'s "best" $HOME `id` \\%\\\\ #1',
    "मेरा फ़ोल्डर",
    "back\\slash\\",
    "tail ",
    "-e",
    "semi;colon & | > < * ? ! ~ ( ) { } [ ]",
]


# Half of the signs are those that mean something to somebody.
paths = st.text(
    st.sampled_from("\"'\\$%#; ~{}`&<>!=") | st.characters(exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=20,
)


def nasty_machine(folder, name):
    """A machine whose folder has a nasty name, and an interpreter that tells what it is given."""
    played = Played(folder)
    place = folder / "home" / name
    played.env_file(name)
    interpreter = place / ".venv/bin/python"
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    interpreter.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    interpreter.chmod(0o755)
    return replace(played.machine, interpreter=str(interpreter), module_folder=str(place)), place

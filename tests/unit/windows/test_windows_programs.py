"""Programs that we start on Windows: their command lines, their environment, their end."""

import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_tokens.programs import Groups, Trees, of_system, split, without

LINES = {
    r"C:\Users\me\tell.exe --live": [r"C:\Users\me\tell.exe", "--live"],
    r'"C:\Program Files\tell.exe" "a b"': [r"C:\Program Files\tell.exe", "a b"],
    r'tell --text="a b" c': ["tell", "--text=a b", "c"],
    r'tell "C:\my folder\\" x': ["tell", "C:\\my folder\\", "x"],
    r"tell \\server\share\ x": ["tell", r"\\server\share" + "\\", "x"],
    r"tell \"a b\"": ["tell", '"a', 'b"'],
    'tell "" end': ["tell", "", "end"],
    " tell\t it's ": ["tell", "it's"],
    "": [],
}


@pytest.mark.parametrize(("line", "words"), LINES.items(), ids=LINES)
def test_a_line_is_split_as_windows_splits_it(line, words):
    """Backslashes of paths stay, quotation marks group; apostrophes mean nothing."""
    assert split(line, is_windows=True) == words


@given(st.lists(st.text("ab \t\"\\='%"), max_size=5))
def test_what_python_quotes_for_windows_is_read_back(words):
    """`subprocess` quotes by Microsoft's rule, and we take it apart by the same."""
    assert split(subprocess.list2cmdline(words), is_windows=True) == words


def test_an_open_quotation_mark_is_an_error():
    """As on every other system; a setting with one is refused at the start."""
    with pytest.raises(ValueError, match="quotation"):
        split('tell "me', is_windows=True)


def test_a_secret_is_kept_from_commands_in_any_case_of_letters():
    """Windows gives `os.environ` names in capitals, and knows no difference between them."""
    environ = {"ACCESS_TOKEN": "secret", "Path": "x"}

    assert without(environ, {"access_token"}, is_windows=True) == {"Path": "x"}
    assert without(environ, {"access_token"}, is_windows=False) == environ


class Console:
    """What `os.kill` and `taskkill` are asked for."""

    def __init__(self, refusal=None):
        self.pressed, self.killed = [], []
        self._refusal = refusal

    def press(self, pid, event):
        if self._refusal:
            raise self._refusal
        self.pressed.append((pid, event))

    def run(self, command, **options):
        self.killed.append((command[0], *command[1:]))
        assert options["creationflags"] == 0x0800_0000, "no window opens for it"


def process(console):
    return SimpleNamespace(pid=1234, kill=lambda: console.killed.append("itself"))


KILLED = [("taskkill", "/F", "/T", "/PID", "1234"), "itself"]


def test_a_program_is_asked_by_ctrl_break():
    """A strategy can end in its own way: Python knows it as SIGBREAK."""
    console = Console()
    Trees(console.press, console.run).signal(process(console), 15)

    assert (console.pressed, console.killed) == ([(1234, 1)], [])


@pytest.mark.parametrize("refusal", [OSError(6, "The handle is invalid"), SystemError("a result")])
def test_a_program_without_a_console_is_killed_with_its_children(refusal):
    """Nothing can be asked of it, and two strategies with two tokens must not go on."""
    console = Console(refusal)
    Trees(console.press, console.run).signal(process(console), 15)

    assert console.killed == KILLED


def test_a_program_dies_even_where_there_is_no_taskkill():
    """The program itself is killed in any case."""

    def missing(*command, **options):
        raise FileNotFoundError(2, "taskkill")

    console = Console()
    Trees(console.press, missing).kill(process(console))

    assert console.killed == ["itself"]


def test_a_system_without_process_groups_has_trees():
    """Which of both it is depends on what the system can do; both ask Popen for what it knows."""
    assert isinstance(of_system(None), Trees)
    assert isinstance(of_system(), Groups)
    assert of_system(None).in_front == {"creationflags": 0x200}, "a group that Ctrl-Break reaches"
    assert of_system(None).behind == {"creationflags": 0x0800_0000}, "no window"

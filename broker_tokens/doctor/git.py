"""Whether git would publish the `.env`; git itself is asked, if there is a repository."""

import os
from collections.abc import Callable, Iterator

from broker_tokens.doctor.case import Case, real_folder
from broker_tokens.doctor.finding import Finding, fail, ok, warn
from broker_tokens.doctor.surroundings import Ended

_AFTERWARDS = (
    "make a new client secret at https://account.upstox.com/developer/apps, as the history keeps"
    " the old one."
)

Git = Callable[..., Ended]


def check_git(case: Case) -> Iterator[Finding]:
    """Whether the file is out of git's reach: no repository, or ignored and never committed."""
    if case.env_path is None:
        return
    folder = real_folder(case.env_path)
    name = os.path.basename(os.path.realpath(case.env_path))
    if not _is_in_repository(folder):
        yield ok("git", "the .env is in no git repository")
        return

    def git(*words: str) -> Ended:
        return case.surroundings.run(["git", "-C", folder, *words])

    yield from _judge(git, name)


def _is_in_repository(folder: str) -> bool:
    while not os.path.exists(os.path.join(folder, ".git")):
        folder, last = os.path.dirname(folder), folder
        if folder == last:
            return False
    return True


def _judge(git: Git, name: str) -> Iterator[Finding]:
    tracked, ignored = (
        git("ls-files", "--error-unmatch", "--", name),
        git("check-ignore", "-q", "--", name),
    )
    committed = git("log", "--all", "--max-count=1", "--format=%h", "--", name)
    if tracked.code not in (0, 1) or ignored.code not in (0, 1) or committed.code != 0:
        yield warn(
            "git",
            "the .env is in a git repository, and git cannot be asked whether it has the file",
            "Install git, or run `git status` there: it says what it does not like.",
        )
    elif tracked.code == 0:
        yield fail(
            "git",
            "git tracks the .env: whoever gets the repository gets the secrets",
            f"git rm --cached {name}, add a line with {name} to .gitignore, commit; and"
            f" {_AFTERWARDS}",
        )
    elif committed.out.strip():
        yield warn(
            "git",
            "git no longer tracks the .env, but an older commit holds it",
            _AFTERWARDS.capitalize(),
        )
    elif ignored.code == 1:
        yield warn(
            "git",
            "the .env is in a git repository that does not ignore it: `git add .` would take it",
            f"Add a line with {name} to .gitignore.",
        )
    else:
        yield ok("git", "git ignores the .env, and no commit holds it")

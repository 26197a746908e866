"""The record of what became of the token: a line an event, whoever writes, whatever goes wrong."""

import json
import os
import stat
from datetime import timedelta

import pytest
from support.house import ist

from broker_tokens.audit import AuditTrail, Kind
from broker_tokens.model import (
    AppRefused,
    ApprovalAsked,
    AttemptFailed,
    LoggedOut,
    PersonNeeded,
    RenewalFailed,
    Stage,
    TokenDied,
    TokenStored,
    Way,
)
from broker_tokens.secrets import Secret

AT = ist("2026-11-20 08:00")
OPENS = ist("2026-11-20 09:00")
CUT = ist("2026-11-21 03:30")
LINK = "https://login.example/?state=planted"
TORN = '{"at": "2026-11-20T07:59:00+05:30", "event": "rene'
FIELDS = [
    *("at", "event", "way", "account", "fingerprint", "expires_at", "reason", "program", "pid"),
]

WRITE = """
from datetime import datetime, timedelta, UTC
from broker_tokens.audit import AuditTrail
from broker_tokens.model import TokenDied
trail = AuditTrail(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(400):
    trail(TokenDied(datetime.now(UTC), f"{int(sys.argv[2]) * 1000 + number:08d}"))
"""


@pytest.fixture
def env_path(tmp_path):
    """A `.env` with an account."""
    path = tmp_path / ".env"
    path.write_text("UPSTOX_USER_ID=SIM001\naccess_token=\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def trail(env_path):
    """The record of that `.env`, not begun."""
    return AuditTrail(env_path)


def text_of(trail):
    with open(trail.path, encoding="utf-8") as file:
        return file.read()


def lines_of(trail):
    return [json.loads(line) for line in text_of(trail).splitlines()]


def stored(at=AT, way=Way.REFRESH_GRANT, account="SIM001"):
    return TokenStored(at, way, CUT, "1a2b3c4d", account)


def failed(at=AT, sentence="Upstox answers 503.", way=Way.REFRESH_GRANT, is_final=False):
    return AttemptFailed(at, way, sentence, is_final)


def needed(stage, asked_at=None):
    return PersonNeeded(AT, stage, AT, OPENS, LINK, asked_at)


EVENTS = {
    "renewed": (stored(), "renewed", "refresh_grant"),
    "approved": (stored(way=Way.PHONE_APPROVAL), "approved", "phone_approval"),
    "logged in": (stored(way=Way.BROWSER_LOGIN), "logged_in", "browser_login"),
    "pasted": (stored(way=Way.PASTE), "pasted", "paste"),
    "found": (stored(way=Way.FOUND), "found", "found"),
    "asked on the phone": (
        ApprovalAsked(AT, Stage.ASK, OPENS, CUT, LINK), "asked", "phone_approval"),
    "asked for a login": (needed(Stage.ASK), "asked", "browser_login"),
    "reminded of the phone": (needed(Stage.REMIND, AT), "reminded", "phone_approval"),
    "alarmed": (needed(Stage.ALARM), "alarmed", "browser_login"),
    "failed in passing": (failed(), "failed", "refresh_grant"),
    "refused": (failed(is_final=True), "refused", "refresh_grant"),
    "died": (TokenDied(AT, "1a2b3c4d"), "died", None),
    "logged out": (LoggedOut(AT, "1a2b3c4d"), "logged_out", None),
}  # fmt: skip


@pytest.mark.parametrize(("event", "kind", "way"), EVENTS.values(), ids=EVENTS)
def test_an_event_is_a_line(trail, event, kind, way):
    """Of each event one line with all fields: when in IST, what, by which way, whose, by whom."""
    trail(event)
    (line,) = lines_of(trail)

    assert list(line) == FIELDS
    assert line["at"] == "2026-11-20T08:00:00+05:30"
    assert (line["event"], line["way"], line["account"]) == (kind, way, "SIM001")
    assert line["pid"] == os.getpid()
    assert "planted" not in text_of(trail)


def test_every_kind_is_written_by_some_event():
    """The set of kinds is closed, and none of them is idle."""
    assert {kind for _, kind, _ in EVENTS.values()} == set(Kind)


def test_a_stored_token_is_told_from_others(trail):
    """By its fingerprint and its end; the account is that of the event."""
    trail(stored(account="OTHER1"))
    (line,) = lines_of(trail)

    assert (line["fingerprint"], line["account"]) == ("1a2b3c4d", "OTHER1")
    assert line["expires_at"] == "2026-11-21T03:30:00+05:30"


def test_what_is_told_again_is_no_event(trail):
    """What the person is told of a failure was recorded when it happened."""
    trail(RenewalFailed(AT, "Upstox answers 503.", None))
    trail(AppRefused(AT, "Upstox refuses the app's credentials."))

    assert not os.path.exists(trail.path)


def test_a_doubtful_request_says_why(trail):
    """A reply that got lost, or a token that will go elsewhere, is the reason of the line."""
    trail(ApprovalAsked(AT, Stage.ASK, OPENS, CUT, LINK, is_certain=False))
    trail(ApprovalAsked(AT, Stage.ASK, OPENS, CUT, LINK, goes_elsewhere="old.example"))

    assert [bool(line["reason"]) for line in lines_of(trail)] == [True, True]
    assert "old.example" in text_of(trail)


REPEATED = {
    "the same failure": ([failed(), failed(AT + timedelta(minutes=1))], 1),
    "the same but for a figure": ([failed(), failed(sentence="Upstox answers 502.")], 1),
    "another failure": ([failed(), failed(sentence="No network.")], 2),
    "two that alternate": (
        [failed(), failed(sentence="No network."), failed(), failed(sentence="No network.")], 2),
    "by another way": ([failed(), failed(way=Way.PASTE)], 2),
    "refused in the end": ([failed(), failed(is_final=True)], 2),
    "again after a token came": ([failed(), stored(), failed()], 3),
    "again on the next day": ([failed(), failed(AT + timedelta(days=1))], 2),
    "reminders in between": ([failed(), needed(Stage.REMIND), failed()], 2),
    "two renewals of the same token": ([stored(), stored()], 2),
}  # fmt: skip


@pytest.mark.parametrize(("events", "number"), REPEATED.values(), ids=REPEATED)
def test_a_failure_that_lasts_is_a_line_a_day(env_path, events, number):
    """Each by a process of its own, as cron starts them; tokens and notices are all recorded."""
    for event in events:
        AuditTrail(env_path)(event)

    assert len(lines_of(AuditTrail(env_path))) == number


def test_two_processes_at_once(scripts, env_path):
    """Every line of two processes that write without a pause is there, whole, once."""
    writers = [scripts.start(WRITE, env_path, number, stdin=-1) for number in (1, 2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    found = sorted(line["fingerprint"] for line in lines_of(AuditTrail(env_path)))

    assert found == [f"{1000 * w + n:08d}" for w in (1, 2) for n in range(400)]


def test_a_torn_line_does_not_spoil_the_next(trail):
    """After a crash in mid-line the next event has a line of its own, and the rest is kept."""
    trail(stored())
    with open(trail.path, "a", encoding="utf-8") as file:
        file.write(TORN)
    trail(TokenDied(AT, "1a2b3c4d"))
    trail(failed())
    trail(failed())
    first, torn, *rest = text_of(trail).splitlines()

    assert json.loads(first)["event"] == "renewed"
    assert torn == TORN
    assert [json.loads(line)["event"] for line in rest] == ["died", "failed"]


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\n3\n", b"\xff\xfe\x00", b"x" * 70_000])
def test_whatever_stands_there_is_kept(trail, content):
    """A record is added to, never begun afresh."""
    with open(trail.path, "wb") as file:
        file.write(content)
    trail(failed())
    with open(trail.path, "rb") as file:
        found = file.read()

    assert found.startswith(content)
    assert json.loads(found.splitlines()[-1])["event"] == "failed"


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_record_is_private(trail, umask):
    """0600 whatever the umask."""
    before = os.umask(umask)
    try:
        trail(stored())
    finally:
        os.umask(before)

    assert stat.S_IMODE(os.stat(trail.path).st_mode) == 0o600


def test_root_gives_it_to_the_owner(needs_root, env_path, trail):
    """A service of root shares the record with the trader's account."""
    os.chown(env_path, 65534, 65534)
    trail(stored())

    assert os.stat(trail.path).st_uid == 65534


ODD = {
    "a folder": os.mkdir,
    "a pipe": os.mkfifo,
    "a link to elsewhere": lambda path: os.symlink(os.path.dirname(path) + "/elsewhere", path),
    "a device that is full": lambda path: os.symlink("/dev/full", path),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_a_record_that_cannot_be_written_disturbs_nobody(trail, make, caplog):
    """It is logged once, and nothing is raised, written elsewhere or waited for."""
    make(trail.path)
    for _ in range(3):
        trail(stored())
        trail(failed())

    assert len(caplog.records) == 1
    assert not os.path.exists(os.path.dirname(trail.path) + "/elsewhere")


def test_a_folder_that_may_not_be_written(run_as_nobody, open_folder):
    """The event is lost, the renewal is not."""
    env_path = open_folder / ".env"
    env_path.write_text("access_token=\n", encoding="utf-8")
    open_folder.chmod(0o555)
    ended = run_as_nobody(
        "from broker_tokens.audit import AuditTrail\n"
        "from broker_tokens.model import TokenDied\n"
        "from datetime import datetime, UTC\n"
        "AuditTrail(sys.argv[1])(TokenDied(datetime.now(UTC), '1a2b3c4d'))",
        env_path,
        stderr=-1,
    )

    assert ended.exit_code == 0
    assert os.listdir(open_folder) == [".env"]


def test_a_full_disk(scripts, mount_wrapper, env_path, tmp_path):
    """What does not fit is ended with the next line; nothing raised."""
    wrapper = mount_wrapper(f"mount -t tmpfs -o size=8k none {tmp_path}; cd {tmp_path}")
    ended = scripts.run(
        "from broker_tokens.audit import AuditTrail\n"
        "from broker_tokens.model import TokenDied\n"
        "from datetime import datetime, UTC\n"
        "open('.env', 'w').close()\n"
        "trail = AuditTrail('.env')\n"
        "for number in range(100):\n"
        "    trail(TokenDied(datetime.now(UTC), f'{number:08d}'))\n"
        "torn = open(trail.path, 'rb').read()\n"
        "assert not torn.endswith(b'}\\n') or len(torn) == 8192, torn[-50:]\n"
        "os.truncate(trail.path, 4000)\n"
        "trail(TokenDied(datetime.now(UTC), '1a2b3c4d'))\n"
        "last = open(trail.path, 'rb').read().splitlines()[-1]\n"
        "assert json.loads(last)['fingerprint'] == '1a2b3c4d'",
        wrapper=wrapper,
        stderr=-1,
    )

    assert ended.exit_code == 0


def test_secrets_are_redacted(trail):
    """What a broker or a proxy repeats of a secret is not in the record, nor is a long story."""
    secret = Secret("planted-token-3141592653589")
    trail(failed(sentence=f"It said {secret.reveal()}. " + "x" * 10_000))

    assert "planted" not in text_of(trail)
    assert len(text_of(trail)) < 1_000


def test_a_linked_env_has_one_record(env_path, tmp_path):
    """All who use the file share its record."""
    link = tmp_path / "link.env"
    link.symlink_to(env_path)

    assert AuditTrail(str(link)).path == env_path + ".audit.jsonl"

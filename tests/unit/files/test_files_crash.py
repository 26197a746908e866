"""Writers that are killed, and system calls that fail, at every point of a write."""

import json
import logging

import pytest

log = logging.getLogger(__name__)

# A version of the file is known by its number: whatever is read must be one version, whole.
VERSIONS = """
import random
path = sys.argv[1]
def version(n):
    text = b"# c\\nA=1\\naccess_token=t-%d%s\\nUPSTOX_TOKEN_EXPIRES_AT=%d\\n"
    return text % (n, b"x" * (n % 7), n)
def values(n):
    return {"access_token": "t-%d%s" % (n, "x" * (n % 7)), "UPSTOX_TOKEN_EXPIRES_AT": str(n)}
def seen():
    content = open(path, "rb").read()
    n = int(content.rsplit(b"=", 1)[1])
    assert content == version(n), content
    return n
def start_over():
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(os.path.join(os.path.dirname(path), name))
    with open(path, "wb") as file: file.write(version(0))
def leftovers():
    return set(os.listdir(os.path.dirname(path))) - {".env", ".env.lock", ".env.state.json"}
def in_child(deed):
    pid = os.fork()
    if pid == 0:
        try: deed()
        except BaseException: import traceback; traceback.print_exc(); os._exit(1)
        os._exit(0)
    return pid
"""

KILLS = """
def write_for_ever():
    n, parent = seen(), os.getppid()
    while os.getppid() == parent:
        n += 1
        save(path, **values(n))
start_over()
reads = 0
left = 0
for _ in range(60):
    pid = in_child(write_for_ever)
    first = seen()
    while seen() == first:
        reads += 1
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), 'the writer failed'
    for _ in range(random.randrange(120)): seen(); reads += 1
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
    left += bool(leftovers())
    after = seen() + 1
    save(path, **values(after))
    assert seen() == after and not leftovers(), leftovers()
print(json.dumps({"writes": seen(), "reads": reads, "kills with leftovers": left}))
"""

CALLS = """
names = ["open", "write", "fsync", "ftruncate", "lseek", "fchmod", "fchown", "replace", "close",
         "unlink", "listxattr", "access", "stat", "fstat"]
plain = {name: getattr(os, name) for name in names}
left_to_go = 0
def fail_at(count, fail):
    global left_to_go
    left_to_go = count
    def wrap(name):
        def call(*args, **kwargs):
            global left_to_go
            left_to_go -= 1
            if left_to_go == 0: fail(name)
            return refuse_rename(name, args) or plain[name](*args, **kwargs)
        return call
    for name in names: setattr(os, name, wrap(name))
def heal():
    for name in names: setattr(os, name, plain[name])
def refuse_rename(name, args):
    if in_place and name == "replace" and args[1] == path:
        raise OSError(errno.EBUSY, "busy")
def stored():
    snapshot = TokenStore(path).load()
    n = int(snapshot.values["UPSTOX_TOKEN_EXPIRES_AT"])
    assert snapshot.values["access_token"] == values(n)["access_token"]
    return n
in_place = sys.argv[2] == "in place"
"""

DEATHS = """
outcomes = []
for count in range(1, 1000):
    start_over()
    def deed():
        fail_at(count, lambda name: os._exit(9))
        save(path, **values(3))
    died = os.waitstatus_to_exitcode(os.waitpid(in_child(deed), 0)[1]) == 9
    found = stored()
    if not in_place: assert seen() == found
    save(path)
    recovered = seen()
    assert recovered == found and not leftovers(), (count, found, recovered, leftovers())
    outcomes.append(found)
    if not died: break
print(json.dumps(outcomes))
"""

FAILURES = """
outcomes = []
for count in range(1, 1000):
    start_over()
    failed = []
    def fail(name):
        failed.append(name)
        raise OSError(int(sys.argv[3]), "planted")
    fail_at(count, fail)
    told = False
    try: save(path, **values(3))
    except TokenError: told = True
    finally: heal()
    found = stored()
    assert found in (0, 3), found
    if not in_place or found == 0: assert seen() == found
    assert told or found == 3 or not failed, (failed, found)
    # What cannot be removed stays; and a rewrite that was begun is finished by the next writer.
    begun = {".env.broker-tokens-backup"} if in_place and found == 3 else set()
    assert leftovers() <= begun or failed[0] == "unlink", (failed, leftovers())
    save(path, **values(5))
    assert seen() == 5 and not leftovers(), (failed, leftovers())
    outcomes.append(found)
    if not failed: break
print(json.dumps(outcomes))
"""


def answer_of(scripts, body, *args):
    process = scripts.start(VERSIONS + body, *args)
    answer, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(answer)


def test_kill_9_never_tears_the_file(open_folder, scripts):
    """60 writers killed at random: every read is one whole version, the next writer tidies up."""
    counts = answer_of(scripts, KILLS, open_folder / ".env")
    log.info("%s", counts)

    assert counts["writes"] >= 120
    assert counts["reads"] > 0


@pytest.mark.parametrize("kind", ["replace", "in place"])
def test_death_at_every_system_call(open_folder, scripts, kind):
    """Dying before any call of a write leaves the old tokens or the new; both are met."""
    outcomes = answer_of(scripts, CALLS + DEATHS, open_folder / ".env", kind)

    assert outcomes[0] == 0
    assert outcomes[-1] == 3
    assert outcomes == sorted(outcomes)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
@pytest.mark.parametrize("kind", ["replace", "in place"])
def test_failure_of_every_system_call(open_folder, scripts, kind, error):
    """A failing call ends in an error for people, with the old or the new tokens whole."""
    import errno

    number = getattr(errno, error)
    outcomes = answer_of(scripts, CALLS + FAILURES, open_folder / ".env", kind, number)

    assert outcomes[0] == 0
    assert outcomes[-1] == 3

"""`/healthz`, `/readyz`, `/metrics`: the loop, the token and the figures, without a secret."""

import os
import shutil
import subprocess
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.house import ist
from unit.web.conftest import KEY
from unit.web.wire import get, post, talk

from broker_tokens.attendance import LONGEST_SILENCE
from broker_tokens.model import Way
from broker_tokens.web.exposition import Metric, Sample, text_of

PATHS = ["/healthz", "/readyz", "/metrics"]


@pytest.fixture
def open_post(post):
    """A listener whose loop has just beaten."""
    with post.open() as opened:
        post.heartbeat.beat()
        yield opened


def ask(opened, path, method="GET"):
    status, headers, body = talk(opened.port, get(path, method))
    return status, headers, body.decode()


def figures(opened):
    """Return all figures, read by Prometheus' own parser, by name and labels."""
    _, _, text = ask(opened, "/metrics")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def look_again(opened):
    """Let the look of the last second grow old."""
    opened.house.clock.advance(seconds=2)


def test_the_loop_beats(open_post):
    """200 `ok` while its last look is younger than five minutes, else 503."""
    fresh = ask(open_post, "/healthz")
    open_post.house.clock.now += LONGEST_SILENCE - timedelta(seconds=1)
    late = ask(open_post, "/healthz")
    open_post.house.clock.advance(seconds=1)
    dead = ask(open_post, "/healthz")
    open_post.heartbeat.beat()
    again = ask(open_post, "/healthz")

    assert (fresh[0], fresh[2]) == (200, "ok\n")
    assert [late[0], dead[0], again[0]] == [200, 503, 200]


def test_a_loop_that_has_not_begun(post):
    """That the web thread answers is no sign of life of the loop."""
    with post.open() as opened:
        assert ask(opened, "/healthz")[0] == 503


def test_a_clock_that_is_set_back(open_post):
    """A look far in the future proves nothing; the next one does."""
    open_post.house.clock.now -= timedelta(hours=1)
    before = ask(open_post, "/healthz")[0]
    open_post.heartbeat.beat()

    assert (before, ask(open_post, "/healthz")[0]) == (503, 200)


def test_a_live_token_is_stored(open_post):
    """503 before the login, 200 after it, 503 once the token has ended."""
    before = ask(open_post, "/readyz")
    open_post.house.log_in()
    look_again(open_post)
    live = ask(open_post, "/readyz")
    open_post.house.clock.now = ist("2026-11-21 03:30")
    ended = ask(open_post, "/readyz")

    assert [before[0], live[0], ended[0]] == [503, 200, 503]
    assert live[2] == "ready\n"


def test_the_figures(open_post):
    """Those of the token, of the plan and of the process, in base units, by the house's clock."""
    house = open_post.house
    house.log_in()
    look_again(open_post)
    found = figures(open_post)

    assert found["upstox_token_live",] == 1
    assert found["upstox_token_expires_timestamp_seconds",] == ist("2026-11-21 03:30").timestamp()
    renewed_at = ist("2026-11-20 08:00").timestamp()
    way = Way.BROWSER_LOGIN.value
    assert found["upstox_token_last_renewal_timestamp_seconds", way] == renewed_at
    assert found["upstox_token_consecutive_failures",] == 0
    assert found["upstox_token_session_covered",] == 1
    opens = ist("2026-11-20 09:00").timestamp()
    assert found["upstox_token_session_opens_timestamp_seconds",] == opens
    asks = ist("2026-11-23 08:00").timestamp()  # Monday
    assert found["upstox_token_next_step_timestamp_seconds",] == asks
    assert found["upstox_token_outlook",] == 0
    assert found["upstox_token_last_look_timestamp_seconds",] == renewed_at
    assert found["upstox_token_files_readable",] == 1
    assert ("upstox_token_build_info", "0.1.0") in found


def test_the_figures_before_a_login(open_post):
    """What is not known is left out, not 0: a token that ends in 1970 would be an alarm."""
    found = figures(open_post)

    assert found["upstox_token_live",] == 0
    assert found["upstox_token_outlook",] == 1
    assert ("upstox_token_expires_timestamp_seconds",) not in found
    assert not [name for name, *_ in found if "last_renewal" in name]


def test_what_was_refused_is_counted(open_post):
    """By reason; what was said in the log is counted on."""
    for path in ("/nowhere", "/nowhere", f"/notifier/{KEY}"):
        ask(open_post, path)
    open_post.house.clock.advance(hours=2)
    ask(open_post, "/nowhere")
    found = figures(open_post)

    assert found["upstox_token_refused_requests_total", "wrong address"] == 3
    assert found["upstox_token_refused_requests_total", "wrong method"] == 1


def test_files_that_cannot_be_read(open_post):
    """Not ready, and said as a figure; the loop's health is another question."""
    open_post.house.env_file.unlink()
    look_again(open_post)
    found = figures(open_post)

    assert ask(open_post, "/readyz")[0] == 503
    assert ask(open_post, "/healthz")[0] == 200
    assert found["upstox_token_files_readable",] == 0
    assert ("upstox_token_live",) not in found


@pytest.mark.parametrize("path", PATHS)
def test_head(open_post, path):
    """HEAD is the same without the body."""
    by_get, by_head = ask(open_post, path), ask(open_post, path, "HEAD")

    assert by_head[0] == by_get[0]
    assert by_head[2] == ""
    assert by_head[1]["Content-Length"] == by_get[1]["Content-Length"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_asking(open_post, path):
    """Other methods are refused; a path close to it is not it."""
    status, headers, _ = talk(open_post.port, post(path, b"x"))

    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(open_post, path + "/")[0] == 404
    assert ask(open_post, f"/notifier{path}")[0] == 404


def test_head_spends_no_login(open_post):
    """Whoever previews the redirect's address is not taken for the person."""
    assert ask(open_post, "/callback?code=c&state=s", "HEAD")[0] == 405


def test_a_redirect_uri_of_that_path_wins(open_post):
    """The login comes first: an app may be registered with any path."""
    open_post.house.set(UPSTOX_REDIRECT_URI="https://trader.example.com/metrics")
    look_again(open_post)
    status, headers, _ = ask(open_post, "/metrics?code=c&state=s")

    assert (status, headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert ask(open_post, "/healthz")[0] == 200


@pytest.mark.parametrize("path", PATHS)
def test_no_secret_and_no_account(open_post, path):
    """Neither token nor fingerprint, account, client ID, address or failure's sentence."""
    token = open_post.house.log_in()
    look_again(open_post)
    _, headers, body = ask(open_post, path)
    text = f"{headers}{body}"

    for hidden in (token, KEY, "SIM001", "sim-client", "sim-secret", "127.0.0.1"):
        assert hidden not in text


def test_the_form_is_prometheus_own(open_post):
    """`promtool` has nothing to say of it; the version is told to the scraper."""
    ask(open_post, "/nowhere")
    open_post.house.log_in()
    look_again(open_post)
    _, headers, text = ask(open_post, "/metrics")

    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    if shutil.which("promtool") is None:
        assert not os.environ.get("CI"), "CI installs promtool"
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_labels_are_escaped():
    """A quotation mark, a backslash or a line break in a label reads back as it was."""
    odd = 'a "b" \\ c\nd'
    text = text_of([Metric("x_total", "counter", "Help.", [Sample(2.0, {"reason": odd})])])
    (family,) = text_string_to_metric_families(text)

    assert [(sample.labels["reason"], sample.value) for sample in family.samples] == [(odd, 2.0)]

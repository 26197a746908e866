"""What follows of a renewal, with the real programs: the user's command, and what was left."""

import json
from datetime import timedelta

from support.doors import ONCE, SERVICE

from broker_tokens.clock import system_clock
from broker_tokens.expiry import next_cut


def test_a_forced_renewal_runs_the_users_command(rotating):
    """As any other way to a new token; and the next run has nothing left to do."""
    ran = rotating.folder / "ran"
    rotating.log_in()
    rotating.set(UPSTOX_ON_RENEW=f"sh -c 'echo $UPSTOX_RENEWED_BY >> {ran}'")
    forced = rotating.run(*ONCE, "--force")
    after = rotating.run(*ONCE)

    assert (forced.code, after.code) == (0, 0)
    assert ran.read_text(encoding="utf-8") == "refresh_grant\n"


def test_what_a_listener_left_is_taken_by_a_service_that_does_not_listen(doors):
    """It was answered 200; that --listen is gone now is no reason to lose it."""
    now = system_clock()
    doors.set(UPSTOX_USER_ID=doors.broker.user_id)
    left = {
        "token": doors.broker.mint(),
        "client_id": "sim-client",
        "user_id": doors.broker.user_id,
        "issued_at": (now - timedelta(seconds=5)).isoformat(),
        "expires_at": next_cut(now).isoformat(),
    }
    inbox = doors.folder / ".env.inbox"
    inbox.write_text(json.dumps([left]), encoding="utf-8")
    with doors.start(*SERVICE) as running:
        running.wait_for("approved on the phone")
        ended, _ = running.stop()

    assert ended.code == 0
    assert doors.values["access_token"] == left["token"]
    assert not inbox.exists()

"""`deploy/com.broker-tokens.upstox-token-refresh.plist`, used by hand as it says."""

import plistlib

from support.doors import ROOT

PLIST = ROOT / "deploy" / "com.broker-tokens.upstox-token-refresh.plist"


def test_launchd_looks_every_ten_minutes():
    """At minutes of the hour, which launchd makes up for after sleep, and when it is loaded."""
    content = plistlib.loads(PLIST.read_bytes())

    assert content["Label"] == PLIST.stem
    assert content["StartCalendarInterval"] == [{"Minute": at} for at in range(1, 60, 10)]
    assert content["RunAtLoad"] is True
    assert content["Umask"] == 0o077
    assert "StartInterval" not in content
    assert content["ProgramArguments"][1:] == [
        "/Users/trader/broker-tokens/token_refresh_service.py",
        "--once",
        "--env-file",
        "/Users/trader/broker-tokens/.env",
    ]

"""Upstox's error codes by what they mean (Upstox docs, Error Codes and the page of each endpoint).

A broker's text never reaches a message; what people read about a code is written here.
"""

APPS = "https://account.upstox.com/developer/apps"

DEAD_TOKEN = {"UDAPI100050"}
BAD_CODE = {"UDAPI100057", "UDAPI1022", *DEAD_TOKEN}
ACCOUNT = {"UDAPI100058"}
IP_GATE = {"UDAPI1221", "UDAPI1154"}
TOKEN_CLASS = {"UDAPI100067"}
PLAN = {"UDAPI1149"}
RATE_LIMIT = {"UDAPI10005", "UDAPI100099"}
TRANSIENT = {"UDAPI100500", "UDAPI100072", "UDAPI100074"}
OUR_FAULT = {
    *("UDAPI10000", "UDAPI100060", "UDAPI100036", "UDAPI100038", "UDAPI100015"),
    *("UDAPI1009", "UDAPI1011", "UDAPI1087", "UDAPI100043"),
}

CREDENTIALS = {
    "UDAPI100016": "invalid credentials",
    "UDAPI100068": "the client ID or redirect URI is wrong",
    "UDAPI100069": "the client ID or client secret is wrong",
    "UDAPI100070": "the redirect URI is not the one registered for the app",
    "UDAPI100073": "the client ID is inactive",
    "UDAPI1017": "the client ID is missing",
    "UDAPI1018": "the redirect URI is missing",
    "UDAPI1023": "the grant type is missing",
    "UDAPI1024": "the client secret is missing",
}

# What is wrong with the app or the account itself, though its credentials may be right.
APP = {
    "UDAPI1123": (
        "Upstox knows nowhere to send the token: the app has no notifier address",
        (
            "Run `upstox-token notifier`, and enter the address it prints as the app's"
            f' "Notifier Webhook Endpoint" at {APPS}'
        ),
    ),
    "UDAPI1124": (
        "Upstox offers approval on the phone to individual accounts only, and this one is none",
        "Log in by browser instead: python init_tokens.py",
    ),
    "UDAPI1155": (
        "The Upstox app is under review or was rejected",
        f"Look up its state at {APPS} and wait for the review, or ask Upstox why.",
    ),
    "UDAPI1157": (
        "The Upstox app has expired",
        (
            f"Renew or recreate it at {APPS}; recreating changes client ID and secret, which then"
            " belong into .env."
        ),
    ),
}

# At a bearer call this one can be about the token as well as about the app.
UNCLEAR = {"UDAPI100016"}

# What a refresh-shaped form lacks in Upstox's eyes: its token endpoint knows no refresh grant.
NO_REFRESH_GRANT = {"UDAPI1018", "UDAPI1023", "UDAPI100070", *BAD_CODE}

# A request for approval holds neither a redirect URI nor a grant type, so these say nothing there.
NOT_IN_AN_APPROVAL = {"UDAPI1018", "UDAPI1023", "UDAPI100070"}

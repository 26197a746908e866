"""The one page that a person sees in the browser at the end of a login."""

import html


def login_page(words: str) -> str:
    """Return a small page that says `words`."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Upstox login</title>"
        "<style>body{font:1.2rem/1.5 sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}"
        f"</style><p>{html.escape(words)}</p></html>"
    )

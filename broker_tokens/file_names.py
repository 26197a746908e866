"""The names of the files that stand beside a `.env` for a moment."""


def temporary_path(path: str) -> str:
    """Return the name of the temporary file that becomes the next version of `path`."""
    return path + ".broker-tokens-new"


def backup_path(path: str) -> str:
    """Return the name of the complete copy that is kept while `path` is rewritten in place."""
    return path + ".broker-tokens-backup"

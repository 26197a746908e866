"""What `doctor` and `check` find out: one file a theme, each check a function that yields findings.

All that a check needs from outside comes in by its `Case`; it changes nothing, and shows no secret.
"""

"""Live through months with a person in them and print what each came to; asserts nothing."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.month import Month  # noqa: E402 -- the project's folders come first

_SEEDS = range(5)


def main() -> None:
    """Print a line for each month."""
    for seed in _SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            print(f"month {seed + 1}: {Month(Path(folder), seed).run().row()}")


if __name__ == "__main__":
    main()

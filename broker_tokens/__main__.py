"""`python -m broker_tokens` is `upstox-token`."""

import sys

from broker_tokens.cli.output import guarded


def _main() -> int:
    """Load the packages here, so that a missing one is said in words; `doctor` says more."""
    try:
        from broker_tokens.cli.main import main
    except ModuleNotFoundError:
        if "doctor" not in sys.argv[1:2]:
            raise
        from broker_tokens.cli.doctor import run_without_packages

        return run_without_packages(sys.argv[2:])
    return main()


if __name__ == "__main__":
    sys.exit(guarded(_main))

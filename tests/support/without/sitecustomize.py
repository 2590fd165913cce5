"""Run by Python at its start where ``without.environment`` put this folder into PYTHONPATH; for our command only."""

import os
import sys

ROW = os.environ.get("MOVESCU_WITHOUT", "")
ARGUMENTS = sys.orig_argv[1:8]


def is_ours(argument: str) -> bool:
    """Whether an argument of Python says that it runs our command, or the server that forks it."""
    return argument in ("movescu", "movescu.testing") or "movescu.cli" in argument or argument.endswith("/forked.py")


if ROW and any(map(is_ours, ARGUMENTS)):
    import without

    without.take_away(ROW)

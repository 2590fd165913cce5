"""``--sites`` and ``--setup``: their errors and exit codes. Imported only with these."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from movescu.cli import streams
from movescu.cli.commands.retrieve import print_usage_error
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging import level
from movescu.cli.options.wishes import SetUpSite
from movescu.errors import UsageError

if TYPE_CHECKING:
    from movescu.cli.options.wishes import Wish


def run_wish(wish: Wish) -> int:
    """List the sites, or set one up; return the exit code."""
    level.configure("fatal")  # the steps of the setup say what happens
    try:
        if isinstance(wish, SetUpSite):
            from movescu.cli.commands.setup import run_setup

            return run_setup(wish.given, sys.stdin)
        from movescu.cli.commands.site_list import sites_text

        streams.write(sys.stdout, sites_text())
    except UsageError as error:
        print_usage_error(error)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        streams.output("\nNothing was written.\n")
        return ExitCode.INTERRUPTED
    return ExitCode.SUCCESS

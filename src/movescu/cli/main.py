"""The command: reads the command line, answers what needs no archive, and hands the rest to ``command``."""

from __future__ import annotations

import sys

from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cli.parser import (
    CommandLineError,
    ShowCompletion,
    ShowHelp,
    ShowTLS,
    ShowVersion,
    arguments_lines,
    parse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run() -> None:
    """Run the command with the arguments of the process; the console script."""
    streams.secure()
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        streams.settle()


def main(arguments: Sequence[str]) -> int:
    """Run the command. Gives the exit code."""
    try:
        settings = parse(arguments)
    except (ShowHelp, ShowVersion, ShowTLS, ShowCompletion) as wish:
        streams.write(sys.stdout, _text(wish))
        return ExitCode.SUCCESS
    except CommandLineError as error:
        if error.show_arguments:
            _show_arguments(arguments)
        if not error.silent:
            from movescu.cli.command import print_usage_error  # noqa: PLC0415 - see below

            print_usage_error(error)
        return ExitCode.USAGE
    from movescu.cli.command import run_command  # noqa: PLC0415 - 30 ms that --version does without

    if settings.show_arguments:
        _show_arguments(arguments)
    return run_command(settings)


def _text(wish: ShowHelp | ShowVersion | ShowTLS | ShowCompletion) -> str:
    if isinstance(wish, ShowCompletion):
        from movescu.cli.completion import completion_text  # noqa: PLC0415 - texts are loaded where they are printed

        return completion_text(wish.shell)
    from movescu.cli import help as texts  # noqa: PLC0415 - as above

    if isinstance(wish, ShowTLS):
        return texts.tls_text(ciphers=wish.ciphers)
    if isinstance(wish, ShowVersion):
        return texts.version_text()
    text = texts.help_text() if wish.everything else texts.short_help_text()
    return texts.painted(text) if texts.wants_colour(sys.stdout) else text


def _show_arguments(arguments: Sequence[str]) -> None:
    for line in arguments_lines("movescu", arguments):
        streams.write(sys.stderr, f"I: {line}\n")

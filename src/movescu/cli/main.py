"""The command: reads the command line, answers what needs no archive, and hands the rest to ``commands``."""

from __future__ import annotations

import gc
import sys

from movescu.cli import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.cli.options.command_line import ShowCompletion, ShowHelp, ShowTLS, ShowVersion


def run() -> None:
    """Run the command with the arguments of the process, and end that; the console script."""
    gc.disable()  # what is loaded stays, and to look for garbage in it takes 5 ms
    streams.secure()
    try:
        code = main(sys.argv[1:])
    except SystemExit as end:  # by a signal
        code = int(end.code or 0)
    finally:
        streams.settle()
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run the command. Gives the exit code."""
    if list(arguments) == ["--version"]:  # without the options, which take 15 ms to load
        return _print_version()
    from movescu.cli.options import command_line

    try:
        settings = command_line.parse(arguments)
    except (command_line.ShowHelp, command_line.ShowVersion, command_line.ShowTLS, command_line.ShowCompletion) as wish:
        streams.write(sys.stdout, _text(wish))
        return 0
    except command_line.CommandLineError as error:
        from movescu.cli.commands.retrieve import print_usage_error
        from movescu.cli.exit_codes import ExitCode

        if error.show_arguments:
            _show_arguments(arguments)
        if not error.silent:
            print_usage_error(error)
        return ExitCode.USAGE
    from movescu.cli.commands.retrieve import run_command  # 20 ms that --help does without

    if settings.show_arguments:
        _show_arguments(arguments)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    return run_command(settings)


def _print_version() -> int:
    from movescu.cli.docs.banner import version_text  # texts are loaded where they are printed

    streams.write(sys.stdout, version_text())
    return 0


def _text(wish: ShowHelp | ShowVersion | ShowTLS | ShowCompletion) -> str:
    from movescu.cli.options.command_line import ShowCompletion, ShowTLS, ShowVersion

    if isinstance(wish, ShowCompletion):
        from movescu.cli.docs.completion import completion_text  # texts are loaded where they are printed

        return completion_text(wish.shell)
    from movescu.cli.docs import help as texts

    if isinstance(wish, ShowTLS):
        return texts.tls_text(ciphers=wish.ciphers)
    if isinstance(wish, ShowVersion):
        from movescu.cli.docs.banner import version_text

        return version_text()
    text = texts.help_text() if wish.everything else texts.short_help_text()
    return texts.painted(text) if texts.wants_colour(sys.stdout) else text


def _show_arguments(arguments: Sequence[str]) -> None:
    from movescu.cli.options.command_line import arguments_lines

    for line in arguments_lines("movescu", arguments):
        streams.write(sys.stderr, f"I: {line}\n")

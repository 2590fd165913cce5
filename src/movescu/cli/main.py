"""Entry point of the command: parses the command line, prints the texts that need no archive, calls ``commands``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # signal itself loads enum, which takes longer than --version
import os
import sys


def _interrupt(_: int, __: object) -> None:
    """End at once on Ctrl-C: while modules are loaded, an exception may come up where nobody can catch it.

    Once the command runs, raise ``KeyboardInterrupt``: associations are then ended in good order.
    """
    if not _raises[0]:
        os._exit(130)
    raise KeyboardInterrupt


_raises = [False]


def _pass_over(_: int, __: object) -> None:
    """Do nothing on SIGUSR1 where there is no status to print: by default, it would end the process."""


def _guard() -> None:
    """Install the handlers, unless the signals are ignored or have others."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _interrupt)
    status = getattr(_signal, "SIGUSR1", 0)  # Windows has none
    if status and _signal.getsignal(status) == _signal.SIG_DFL:
        _signal.signal(status, _pass_over)


if sys.argv[:1] and sys.argv[0].endswith(("/movescu", "/movescu-py", "/movescu/__main__.py")):
    _guard()  # this process is the command: before anything else is loaded

import gc  # noqa: E402 - as above

from movescu.cli import streams  # noqa: E402 - as above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from movescu.cli.options.wishes import ShowCompletion, ShowHelp, ShowTLS, ShowVersion, Wish


_ALLOCATIONS: Final = 10_000
"""Container objects made since the last garbage collection before another: few here are in cycles."""


def run() -> None:
    """Run the command with the arguments of the process, and exit; the console script."""
    _guard()
    gc.disable()  # modules stay loaded: collecting during the imports finds nothing and delays the start
    streams.secure()
    try:
        code = main(sys.argv[1:])
    except SystemExit as end:  # raised by a signal handler
        code = int(end.code or 0)
    except KeyboardInterrupt:
        code = 130
    finally:
        _raises[0] = False
        streams.settle()
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    if list(arguments) == ["--version"]:  # needs no options, and loading them is slow
        return _print_version()
    from movescu.cli.options import command_line
    from movescu.cli.options.wishes import Wish
    from movescu.errors import CommandLineError

    try:
        settings = command_line.parse(arguments)
    except Wish as wish:
        return _grant(wish)
    except CommandLineError as error:
        from movescu.cli.commands.retrieve import print_usage_error
        from movescu.cli.exit_codes import ExitCode

        if error.show_arguments:
            _show_arguments(arguments)
        if not error.silent:
            print_usage_error(error)
        return ExitCode.USAGE
    from movescu.cli.commands.retrieve import run_command  # slow to load, and --help does without

    if settings.show_arguments:
        _show_arguments(arguments)
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS)
        gc.enable()
    _raises[0] = True
    return run_command(settings)


def _print_version() -> int:
    from movescu.cli.docs.banner import version_text  # loaded only where it is printed

    streams.write(sys.stdout, version_text())
    return 0


def _grant(wish: Wish) -> int:
    from movescu.cli.options.wishes import ShowCompletion, ShowHelp, ShowTLS, ShowVersion

    if not isinstance(wish, ShowHelp | ShowVersion | ShowTLS | ShowCompletion):
        from movescu.cli.commands.site_commands import run_wish  # slow to load, and few runs need it

        _raises[0] = True
        return run_wish(wish)
    streams.write(sys.stdout, _text(wish))
    return 0


def _text(wish: ShowHelp | ShowVersion | ShowTLS | ShowCompletion) -> str:
    from movescu.cli.options.wishes import ShowCompletion, ShowTLS, ShowVersion

    if isinstance(wish, ShowCompletion):
        from movescu.cli.docs.completion import completion_text  # loaded only where it is printed

        return completion_text(wish.shell)
    from movescu.cli.docs import help as texts

    if isinstance(wish, ShowTLS):
        return texts.tls_text(ciphers=wish.ciphers)
    if isinstance(wish, ShowVersion):
        from movescu.cli.docs.banner import version_text

        return version_text()
    from movescu.cli.output.colours import wants_colour

    width = texts.width_of(sys.stdout)
    text = texts.text_about(wish.topic, width)
    return texts.painted(text) if wants_colour(sys.stdout) else text


def _show_arguments(arguments: Sequence[str]) -> None:
    from movescu.cli.options.command_line import arguments_lines

    for line in arguments_lines("movescu", arguments):
        streams.write(sys.stderr, f"I: {line}\n")

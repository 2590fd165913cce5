"""The command: wires the parser, the log and ``retrieve`` together, and owns the table of exit codes.

The codes are DCMTK's where it has one; 62 and 63 stand where DCMTK says 0 though the retrieve failed.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from movescu.cli.parser import CommandLineError, Settings, ShowHelp, ShowVersion, arguments_lines, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.dataset.query import Identifier
    from movescu.errors import MovescuError
    from movescu.retrieve import RetrieveOptions, Retriever, RetrieveResult
    from movescu.services.move import MoveResponse


class ExitCode(IntEnum):
    """Every exit code of the command."""

    SUCCESS = 0
    USAGE = 1  # command line, key, query file
    INSUFFICIENT_PRIVILEGES = 2
    OUTPUT_DIRECTORY_NOT_WRITABLE = 40
    OUTPUT_DIRECTORY_NOT_FOUND = 45
    CANNOT_LISTEN = 60
    ASSOCIATION_FAILED = 61  # not connected, rejected, or ended before it was accepted
    ASSOCIATION_LOST = 62  # ended before the final response
    INCOMPLETE = 63  # counted by the archive but not arrived, or arrived and not stored
    NO_PRESENTATION_CONTEXT = 66
    RELEASE_FAILED = 67
    MOVE_WARNING = 68  # final status B000
    MOVE_FAILED = 69  # any other final status but success and cancel
    INTERNAL_ERROR = 99  # a fault of this program
    INTERRUPTED = 130


# Of several codes that one run earns, the first of these is given: a status, as DCMTK has it, before all else.
_PRECEDENCE: Final = (
    ExitCode.MOVE_FAILED,
    ExitCode.MOVE_WARNING,
    ExitCode.ASSOCIATION_LOST,
    ExitCode.INCOMPLETE,
    ExitCode.RELEASE_FAILED,
)

# A702 and C000: dcmqrscp and Orthanc say no more when they cannot connect to the move destination, and Orthanc says
# the same of a title that it does not know.
_NOT_REACHED: Final = (0xA702, 0xC000)


def run() -> None:
    """Run the command with the arguments of the process; the console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run the command. Gives the exit code."""
    try:
        settings = parse(arguments)
    except ShowHelp:
        from movescu.cli.help import help_text  # noqa: PLC0415 - texts are loaded where they are printed

        sys.stdout.write(help_text())
        return ExitCode.SUCCESS
    except ShowVersion:
        from movescu.cli.help import version_text  # noqa: PLC0415 - as above

        sys.stdout.write(version_text())
        return ExitCode.SUCCESS
    except CommandLineError as error:
        return _refuse(error, arguments)
    return _Command(settings, arguments).run()


def _refuse(error: CommandLineError, arguments: Sequence[str]) -> int:
    if error.show_arguments:
        _show_arguments(arguments)
    if not error.silent:
        _print_usage_error(error)
    return ExitCode.USAGE


def _print_usage_error(error: MovescuError) -> None:
    from movescu.cli.help import banner  # noqa: PLC0415 - texts are loaded where they are printed

    hint = f"({error.hint})\n" if error.hint else ""
    sys.stderr.write(f"{banner()}error: {error}\n{hint}")


def _show_arguments(arguments: Sequence[str]) -> None:
    for line in arguments_lines("movescu", arguments):
        sys.stderr.write(f"I: {line}\n")


class _Command:
    """One run, after the command line was understood."""

    def __init__(self, settings: Settings, arguments: Sequence[str]) -> None:
        self._settings = settings
        self._arguments = arguments
        self._codes: set[ExitCode] = set()

    def run(self) -> int:
        """Run it. Gives the exit code."""
        import logging  # noqa: PLC0415 - 4 ms that --version does without

        from movescu.cli import logs  # noqa: PLC0415 - as above
        from movescu.errors import MovescuError, UsageError  # noqa: PLC0415 - as above

        logs.configure(self._settings.log_level)
        self._log = logging.getLogger("movescu.cli")
        if self._settings.show_arguments:
            _show_arguments(self._arguments)
        try:
            return self._retrieve(self._identifiers())
        except UsageError as error:
            if not self._failed_at_start(error):
                if self._log.isEnabledFor(logging.ERROR):
                    _print_usage_error(error)
                return ExitCode.USAGE
        except MovescuError as error:
            self._failed_at_start(error)
        except KeyboardInterrupt:
            self._log.critical("interrupted")
            return ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last resort: no traceback but for who asks for it
            self._log.critical("internal error: %s: %s", type(error).__name__, error)
            self._log.debug("where it happened:", exc_info=True)
            return ExitCode.INTERNAL_ERROR
        return self._exit_code()

    def _identifiers(self) -> list[Identifier]:
        from movescu.dataset.query import make_identifier  # noqa: PLC0415 - 10 ms that --version does without

        settings = self._settings
        return [make_identifier(settings.keys, file) for file in settings.query_files or (None,)]

    def _retrieve(self, identifiers: list[Identifier]) -> int:
        from movescu.errors import PeerError  # noqa: PLC0415 - see run()
        from movescu.retrieve import Retriever  # noqa: PLC0415 - see run()

        with Retriever(_options(self._settings)) as retriever:
            retriever.listen()
            retriever.open()
            try:
                for identifier in identifiers:
                    for _ in range(self._settings.repeat):
                        self._judge(retriever.move(identifier, self._log_response), retriever)
            except PeerError as error:
                self._codes.add(ExitCode.ASSOCIATION_LOST)
                self._complain("association lost before the final C-MOVE response", error)
                self._finish(retriever)
                return self._exit_code()
            self._finish(retriever)
            self._end(retriever)
        return self._exit_code()

    def _finish(self, retriever: Retriever) -> None:
        from movescu.errors import StoreError  # noqa: PLC0415 - see run()

        try:
            self._tell(retriever.finish())
        except StoreError as error:
            self._codes.add(ExitCode.INCOMPLETE)
            self._complain("incomplete", error)

    def _end(self, retriever: Retriever) -> None:
        from movescu.errors import PeerError  # noqa: PLC0415 - see run()

        if self._settings.abort:
            self._log.info("aborting association")
            retriever.abort()
            return
        try:
            retriever.release()
        except PeerError as error:
            self._codes.add(ExitCode.RELEASE_FAILED)
            self._complain("association release failed", error)

    # -- what is said about it -------------------------------------------------------------------------------------

    def _complain(self, what: str, error: MovescuError) -> None:
        self._log.critical("%s: %s", what, error)
        if error.hint:
            self._log.critical("%s", error.hint)

    def _failed_at_start(self, error: MovescuError) -> bool:
        """Take the code of an error before the first request; False if it is one of the command line."""
        from movescu import errors, retrieve  # noqa: PLC0415 - see run()

        codes: tuple[tuple[type[MovescuError], ExitCode, str], ...] = (
            (errors.DirectoryNotFoundError, ExitCode.OUTPUT_DIRECTORY_NOT_FOUND, "cannot store"),
            (errors.DirectoryNotWritableError, ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE, "cannot store"),
            (errors.PrivilegesError, ExitCode.INSUFFICIENT_PRIVILEGES, "cannot receive"),
            (errors.ListenError, ExitCode.CANNOT_LISTEN, "cannot receive"),
            (retrieve.NoPresentationContextError, ExitCode.NO_PRESENTATION_CONTEXT, "cannot ask"),
            (errors.PeerError, ExitCode.ASSOCIATION_FAILED, "association request failed"),
        )
        for kind, code, what in codes:
            if isinstance(error, kind):
                self._codes.add(code)
                self._complain(what, error)
                return True
        return False

    def _log_response(self, response: MoveResponse) -> None:
        if response.status_name == "Pending":
            self._log.info(
                "received C-MOVE response: %s remaining, %s completed, %s failed, %s with warning",
                *(_count(n) for n in (response.remaining, response.completed, response.failed, response.warning)),
            )
        else:
            self._log.info("received final C-MOVE response (%s)", response.status_name)

    def _judge(self, response: MoveResponse, retriever: Retriever) -> None:
        """Take the code of a final response, and say what was wrong and what can be done."""
        from movescu.dimse.status import (  # noqa: PLC0415 - see run()
            CANCEL,
            MOVE_DESTINATION_UNKNOWN,
            SUB_OPERATIONS_WITH_FAILURES,
            SUCCESS,
        )

        if response.status in (SUCCESS, CANCEL):
            return
        warning = response.status == SUB_OPERATIONS_WITH_FAILURES
        self._codes.add(ExitCode.MOVE_WARNING if warning else ExitCode.MOVE_FAILED)
        self._log.warning(
            "C-MOVE ended with status 0x%04x (%s): %s completed, %s failed, %s with warning",
            response.status,
            response.status_name,
            *(_count(n) for n in (response.completed, response.failed, response.warning)),
        )
        if response.error_comment:
            self._log.warning("the archive's comment: %s", response.error_comment)
        if response.offending_elements:
            tags = ", ".join(f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in response.offending_elements)
            self._log.warning("offending elements: %s", tags)
        for uid in response.failed_sop_instance_uids:
            self._log.warning("not delivered: SOP instance %s", uid)
        if response.status == MOVE_DESTINATION_UNKNOWN:
            self._explain_destination("does not know", retriever)
        elif response.status in _NOT_REACHED and not response.completed and not retriever.arrived:
            self._explain_destination("may not know, or not reach,", retriever)

    def _explain_destination(self, what: str, retriever: Retriever) -> None:
        settings = self._settings
        destination = settings.move_destination or settings.calling_aet
        address, port = retriever.own_address
        self._log.warning("the archive %s %s the move destination %r", settings.called_aet, what, destination)
        if port:
            self._log.warning(
                "its administrator has to enter: AE title %s, address %s (as seen from here), port %d",
                destination,
                address,
                port,
            )
        else:
            self._log.warning(
                "its administrator has to enter the AE title %s with its address and port; to receive the objects "
                "with this program, give --port",
                destination,
            )

    def _tell(self, result: RetrieveResult) -> None:
        """Say what arrived, and take the code for what did not."""
        tally = result.tally
        if self._settings.listen_port is not None:
            self._log.info("%d objects received, %d bytes, %d not stored", tally.stored, tally.size, tally.failed)
        if result.missing or tally.failed:
            self._codes.add(ExitCode.INCOMPLETE)
        if tally.failed:
            self._log.error(
                "incomplete: %d objects arrived and could not be stored; put that right and ask again", tally.failed
            )
        if result.missing:
            self._log.error(
                "incomplete: the archive counts %d objects as delivered, %d arrived here; ask again, and have the "
                "archive's log and the address it has for this AE title looked at",
                result.expected,
                tally.stored + tally.failed,
            )

    def _exit_code(self) -> int:
        for code in _PRECEDENCE:
            if code in self._codes:
                return code
        return max(self._codes, default=ExitCode.SUCCESS)


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _options(settings: Settings) -> RetrieveOptions:
    """Say in the library's terms what the command line says in its own."""
    from movescu.dataset.encoding import Encoding, GroupLength  # noqa: PLC0415 - see _Command.run()
    from movescu.retrieve import ListenOptions, RetrieveOptions  # noqa: PLC0415 - see _Command.run()
    from movescu.storage.durability import Durability  # noqa: PLC0415 - as above
    from movescu.storage.receiver import StorageOptions  # noqa: PLC0415 - as above

    own = None
    if settings.listen_port is not None:
        storage = StorageOptions(
            directory=settings.output_directory,
            ignore=settings.ignore,
            bit_preserving=settings.bit_preserving,
            file_format=settings.write_file_format,
            encoding=Encoding(
                transfer_syntax=settings.write_syntax,
                new_vr=settings.new_vr,
                group_length=GroupLength[settings.group_length.upper()],
                explicit_length=settings.explicit_length,
                file_padding=settings.file_padding,
                item_padding=settings.item_padding,
                compression_level=settings.compression_level,
            ),
            durability=Durability(settings.durable),
        )
        own = ListenOptions(
            port=settings.listen_port,
            transfer_syntaxes=settings.preferred,
            accept_unknown=settings.accept_unknown,
            storage=storage,
        )
    return RetrieveOptions(
        host=settings.peer,
        port=settings.port,
        calling_ae_title=settings.calling_aet,
        called_ae_title=settings.called_aet,
        move_destination=settings.move_destination,
        model=settings.model,
        transfer_syntaxes=settings.proposed,
        maximum_length=settings.max_pdu,
        connect_timeout=settings.connect_timeout,
        acse_timeout=settings.acse_timeout,
        dimse_timeout=settings.dimse_timeout,
        cancel_after=settings.cancel_after,
        read_pending=settings.pending_read,
        listen=own,
    )

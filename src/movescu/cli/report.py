"""What the command says about responses and results, and which exit code each of them earns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from movescu.cli.exit_codes import ExitCode
from movescu.cli.options import OPTIONS
from movescu.dimse.status import (
    CANCEL,
    MOVE_DESTINATION_UNKNOWN,
    OUT_OF_RESOURCES_SUB_OPERATIONS,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PROCESS,
    StatusClass,
)
from movescu.uids import uid_name

if TYPE_CHECKING:
    from movescu.cli.options import Option
    from movescu.errors import MovescuError
    from movescu.options import RetrieveOptions
    from movescu.retrieve import Retriever
    from movescu.services.move import MoveResponse
    from movescu.tally import RetrieveResult
    from movescu.ul.negotiation import RejectedClass

_log: Final = logging.getLogger("movescu.cli")

_NOT_REACHED: Final = (OUT_OF_RESOURCES_SUB_OPERATIONS, UNABLE_TO_PROCESS)
"""What archives answer, beside A801, when they do not know the destination or get no answer from it."""


def complain(what: str, error: MovescuError) -> None:
    """Say what failed, why, and what can be done."""
    _log.critical("%s: %s", what, error)
    if error.hint:
        _log.critical("%s", error.hint)


def log_response(response: MoveResponse) -> None:
    """Log a response as it comes."""
    if response.status_class is StatusClass.PENDING:
        _log.info("received C-MOVE response: %s remaining, %s", _count(response.remaining), _counts(response))
    else:
        _log.info("received final C-MOVE response (%s)", response.status_name)


def judge_response(response: MoveResponse, retriever: Retriever, options: RetrieveOptions) -> set[ExitCode]:
    """Give the code that a final response earns; say what was wrong and what can be done."""
    if response.status in (SUCCESS, CANCEL):
        return set()
    text = "C-MOVE ended with status 0x%04x (%s): %s"
    _log.warning(text, response.status, response.status_name, _counts(response))
    if response.error_comment:
        _log.warning("the archive's comment: %s", response.error_comment)
    if response.offending_elements:
        tags = ", ".join(f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in response.offending_elements)
        _log.warning("offending elements: %s", tags)
    for uid in response.failed_sop_instance_uids:
        _log.warning("not delivered: SOP instance %s", uid)
    if response.status == MOVE_DESTINATION_UNKNOWN:
        _explain_destination("does not know", retriever, options)
    elif response.status in _NOT_REACHED and not response.completed and not retriever.arrived:
        _explain_destination("may not know, or not reach,", retriever, options)
    return {ExitCode.MOVE_WARNING if response.status == SUB_OPERATIONS_WITH_FAILURES else ExitCode.MOVE_FAILED}


def _explain_destination(what: str, retriever: Retriever, options: RetrieveOptions) -> None:
    address, port = retriever.own_address
    _log.warning("the archive %s %s the move destination %r", options.called_ae_title, what, options.destination)
    if port:
        _log.warning(
            "its administrator has to enter: AE title %s, address %s (as seen from here), port %d",
            *(options.destination, address, port),
        )
    else:
        _log.warning(
            "its administrator has to enter the AE title %s with its address and port; to receive the objects with "
            "this program, give --port",
            options.destination,
        )


def judge_result(result: RetrieveResult, options: RetrieveOptions) -> set[ExitCode]:
    """Give the code that what arrived earns; say what did not arrive, and what can be done."""
    tally = result.tally
    if options.listen is not None:
        _log.info("%d objects received, %d bytes, %d not stored", tally.stored, tally.size, tally.failed)
    if tally.failed:
        _log.error("incomplete: %d objects arrived and could not be stored; put that right and ask again", tally.failed)
    if result.missing:
        _log.error(
            "incomplete: the archive counts %d objects as delivered, %d arrived here; ask again, and have the "
            "archive's log and the address it has for this AE title looked at",
            *(result.expected, tally.arrived),
        )
    return {ExitCode.INCOMPLETE} if tally.failed or result.missing else set()


def report_rejected(rejected: tuple[RejectedClass, ...], *, failed: bool) -> None:
    """Name the SOP classes of which no presentation context was accepted: they may be why a retrieve failed."""
    level = logging.WARNING if failed else logging.INFO
    for entry in rejected:
        name = uid_name(entry.sop_class_uid)
        what = name if name == entry.sop_class_uid else f"{name} ({entry.sop_class_uid})"
        offered = ", ".join(map(uid_name, entry.offered))
        advice = f"; {option} accepts it" if (option := _accepting_option(entry)) else ""
        _log.log(level, "not accepted from a sender: %s, offered in %s%s", what, offered, advice)


def _accepting_option(entry: RejectedClass) -> str:
    """Name the options that would have accepted a class."""
    if not entry.known:
        return "--accept-unknown"
    offered = frozenset(entry.offered)
    preferences = (option for option in OPTIONS if option.field == "preferred")
    return " or ".join(option.short for option in preferences if offered & _uids(option))


def _uids(option: Option) -> frozenset[str]:
    syntaxes = option.value if isinstance(option.value, tuple) else ()
    return frozenset(syntax.uid for syntax in syntaxes)


def _counts(response: MoveResponse) -> str:
    completed, failed, warning = map(_count, (response.completed, response.failed, response.warning))
    return f"{completed} completed, {failed} failed, {warning} with warning"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)

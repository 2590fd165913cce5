"""The command's messages about responses, results and errors before the first request, with their exit codes."""

from __future__ import annotations

from movescu import errors
from movescu._runtime.late_log import INFO, WARNING, logger_of
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.table import OPTIONS
from movescu.dictionary.uids import TRANSFER_SYNTAXES, may_be_storage, uid_name
from movescu.dimse.status import (
    CANCEL,
    MOVE_DESTINATION_UNKNOWN,
    OUT_OF_RESOURCES,
    SUCCESS,
    StatusClass,
)
from movescu.errors import NoPresentationContextError, PeerError
from movescu.retrieve.observer import Observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Final

    from movescu.cli.options.option import Option
    from movescu.errors import MovescuError
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.config import Config
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.request_state import RequestState
    from movescu.retrieve.result import Result
    from movescu.retrieve.tally import Tally
    from movescu.services.move import MoveResponse
    from movescu.ul.negotiation import RejectedClass

_log: Final = logger_of("movescu.cli")

# Errors before the first request: exit code and attempted action; subclasses first. --check uses the same codes.
AT_START: Final[tuple[tuple[type[MovescuError], ExitCode, str], ...]] = (
    (errors.DirectoryNotFoundError, ExitCode.OUTPUT_DIRECTORY_NOT_FOUND, "wrong directory"),
    (errors.DirectoryNotWritableError, ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE, "cannot store"),
    (errors.JournalError, ExitCode.JOURNAL_FAILED, "cannot keep the journal"),
    (errors.ClusterError, ExitCode.CLUSTER_FAILED, "cannot use the cluster"),
    (errors.StoreError, ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE, "cannot store"),
    (errors.PrivilegesError, ExitCode.INSUFFICIENT_PRIVILEGES, "cannot receive"),
    (errors.ListenError, ExitCode.CANNOT_LISTEN, "cannot receive"),
    (errors.TLSError, ExitCode.TLS_SETUP_FAILED, "cannot set up TLS"),
    (NoPresentationContextError, ExitCode.NO_PRESENTATION_CONTEXT, "cannot send requests"),
    (PeerError, ExitCode.ASSOCIATION_FAILED, "association request failed"),
)


def code_at_start(error: MovescuError, *, reads_journal: bool = False) -> ExitCode | None:
    """Log an error before the first request and return its exit code, None if it has none.

    ``reads_journal``: a journal is only read, not kept. Default: False.
    """
    for kind, code, words in AT_START:
        if isinstance(error, kind):
            what = "cannot read the journal" if kind is errors.JournalError and reads_journal else words
            complain(what, error, _advice_at_start(error) if isinstance(error, PeerError) else error.hint)
            return code
    return None


def _advice_at_start(error: PeerError) -> str:
    from movescu.retrieve.causes import advice_for  # late: needed after a failure alone

    return advice_for(error, associated=False)


def complain(what: str, error: MovescuError, advice: str) -> None:
    """Log the failed action, the error, and what to do about it."""
    _log.critical("%s: %s", what, error)
    if advice:
        _log.critical("%s", advice)


class ResponseLog(Observer):
    """Logs the responses of the archive."""

    def __init__(self) -> None:
        self._last: MoveResponse | None = None

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Log a response."""
        self._last = response
        log_response(response)

    def status(self, tally: Tally) -> str:
        """Return the current progress as a line; ``tally``: of arriving objects."""
        from movescu.cli.output.quantities import size_text  # late: needed after SIGUSR1 alone

        text = f"{_objects(tally.stored)}, {size_text(tally.size)}"
        last = self._last
        if last is None:
            return f"{text}; no response from the archive yet"
        return f"{text}; the archive's last response: {_count(last.remaining)} remaining, {_counts(last)}"


def log_response(response: MoveResponse) -> None:
    """Log a C-MOVE or C-GET response."""
    if response.status_class is StatusClass.PENDING:
        if _log.isEnabledFor(INFO):  # there is one for each object
            _log.info(
                "received %s response: %s remaining, %s",
                *(response.service, _count(response.remaining), _counts(response)),
            )
    else:
        _log.info("received final %s response (%s)", response.service, response.status_name)


def _report_response(response: MoveResponse, retrieve: Retrieve, client: ArchiveClient, named: set[str | int]) -> None:
    """Log the failures of a final response, with advice.

    ``named``: the objects that are logged already, or will be, and statuses whose advice is; added to.
    """
    if response.status == CANCEL:
        if not (retrieve.cancelled or client.config.request.cancel_after):
            _log.error(
                "incomplete: the archive cancelled the retrieve on its own (status 0xfe00): %s; repeat the request",
                _counts(response),
            )
        return
    if response.status == SUCCESS:
        if response.failed:
            _log.error("incomplete: the archive reports success but counts %s as failed", _objects(response.failed))
        return
    text = "%s ended with status 0x%04x (%s): %s"
    _log.warning(text, response.service, response.status, response.status_name, _counts(response))
    _report_details(response, named)
    if response.status not in named:
        named.add(response.status)
        _advise(response, client)


def _advise(response: MoveResponse, client: ArchiveClient) -> None:
    """Log the likely cause of a final status and what to do; nothing if the cause is here, and is logged already."""
    from movescu.retrieve.causes import NOT_DELIVERED, NOT_SENT, cause_of_status  # late: needed after a failure alone

    server = client.server
    gets = client.service.gets
    if response.status == MOVE_DESTINATION_UNKNOWN and not gets:
        _explain_destination("does not know", client)
    elif server.has_turned_away or (server.rejected and not server.tally.arrived) or _refused(client):
        return
    elif gets or response.status not in NOT_DELIVERED or (server.was_reached and not server.tally.arrived):
        unsent = response.status in NOT_DELIVERED and not gets
        cause = NOT_SENT if unsent else cause_of_status(response.status, response.service)
        _log.warning("%s: %s", cause.words, cause.advice)
    elif response.completed or server.tally.arrived:
        _log.warning("check the archive's log")
    else:
        nothing = "" if response.failed else "may have nothing for these keys, or "
        _explain_destination(f"{nothing}may not know, or not reach,", client)
        _log.warning("else check the archive's log")


def _report_details(response: MoveResponse, named: set[str | int]) -> None:
    if response.error_comment:
        _log.warning("the archive's comment: %s", response.error_comment)
    if response.offending_elements:
        tags = ", ".join(f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in response.offending_elements)
        _log.warning("offending elements: %s", tags)
    for uid in response.failed_sop_instance_uids:
        if uid not in named:
            named.add(uid)
            _log.warning("not delivered: SOP instance %s", uid)


def _explain_destination(what: str, client: ArchiveClient) -> None:
    config, (address, port) = client.config, client.own_address
    _log.warning("the archive %s %s the move destination %r", config.archive.title, what, config.move_destination)
    if port:
        _log.warning(
            "add to the archive's configuration: AE title %s, address %s (as seen from here), port %d",
            *(config.move_destination, address, port),
        )
    else:
        _log.warning(
            "add the AE title %s with its address and port to the archive's configuration; to receive the objects "
            "here, use --port",
            config.move_destination,
        )


def report_retrieve(retrieve: Retrieve, result: Result, client: ArchiveClient, *, explained: bool = False) -> None:
    """Log the failures of the last attempts and missing objects, with advice.

    ``explained``: another message will say why the archive had nothing to send.
    """
    if result.failed:  # the archive's failures follow from it
        _report_not_stored(result, _refused(client))
    named: set[str | int] = set(result.missing_uids)
    for state in retrieve.states:
        for response in state.responses if not result.complete else ():  # else a later list disproved them
            _report_response(response, retrieve, client, named)
        if state.error is not None:
            _report_lost(state, result, state.error, client)
    _report_result(result, client.config, explained=explained)
    for hint in dict.fromkeys(retrieve.hints):
        _log.error("%s", hint)
    timed_out = any(isinstance(state.error, errors.TimedOutError) for state in retrieve.states)
    if not result.arrived and (timed_out or result.evidence.short) and not client.service.gets:
        from movescu.cli.output.explanation import is_unreached, report_unreached  # late: as above

        if is_unreached(client):
            report_unreached(client)


def _report_lost(state: RequestState, result: Result, error: MovescuError, client: ArchiveClient) -> None:
    """Log the error that ended the association, with its likely cause."""
    what = f"association lost before the final {client.service.name} response"
    if isinstance(error, errors.AssociationAbortedError) and not (state.responses or result.arrived):
        complain(what, error, error.hint)  # as Orthanc does with an unknown calling title
        if client.service.gets:
            _log.warning(
                "%s may not permit C-GET to %s: permit it in the archive's configuration, or use C-MOVE "
                "(--retrieve move) with --port",
                *(client.config.archive.title, client.config.ae_title),
            )
        else:
            _explain_destination("may not know this AE title, or", client)
        return
    from movescu.retrieve.causes import advice_for  # late: needed after a failure alone

    kept = "stored objects are whole and were kept; " if result.stored else ""
    complain(what, error, f"{kept}{advice_for(error, associated=True)}")


def _refused(client: ArchiveClient) -> int:
    """Return the number of objects that this program refused, whatever the disk: they would be refused again."""
    return sum(received.status >> 8 != OUT_OF_RESOURCES >> 8 for received in client.server.tally.failures.values())


def _report_not_stored(result: Result, refused: int) -> None:
    """Log objects that were not stored, with advice; ``refused``: those that this program would refuse again."""
    if refused:
        _log.error(
            "incomplete: %s arrived and %s refused by this program; repeating the request cannot help, but the options "
            "named above can",
            *(_objects(refused), "was" if refused == 1 else "were"),
        )
    if result.failed > refused:
        _log.error(
            "incomplete: %s arrived but could not be stored; fix the cause and repeat the request",
            _objects(result.failed - refused),
        )


def _report_result(result: Result, config: Config, *, explained: bool) -> None:
    """Log missing objects, with advice."""
    evidence = result.evidence
    if config.receive is not None:
        there = f", {result.already_there} already there" if result.already_there else ""
        numbers = (_objects(result.stored), result.size, result.failed, there)
        _log.info("%s received, %d bytes, %d not stored%s", *numbers)
    if result.verified:
        _report_listed(result)
    if evidence.short:
        _log.error(
            "incomplete: the archive counts %s as delivered, %d arrived here; check the archive's log%s, and repeat "
            "the request",
            *(_objects(result.expected), result.arrived),
            " and its address for this AE title" if config.listens else "",
        )
    if evidence.remaining and not any(evidence.statuses):  # else the status was told
        _log.error(
            "incomplete: the archive reports success, but counted %d more sub-operation%s than it carried out; check "
            "the archive's log, and repeat the request",
            *(evidence.remaining, "" if evidence.remaining == 1 else "s"),
        )
    _report_nothing(result, config, explained=explained)
    for uid in result.broken_off:
        _log.error("incomplete: the transfer of SOP instance %s broke off; repeat the request", uid)
    if evidence.cut_off:
        _log.error(
            "incomplete: a timeout expired with %d storage association%s open",
            *(evidence.cut_off, "" if evidence.cut_off == 1 else "s"),
        )
    if evidence.late:
        _log.error(
            "incomplete: %s followed the archive's final response and may not be stored; repeat the request, and check "
            "the archive's log",
            _objects(evidence.late),
        )
    if evidence.unflushed:
        _log.critical("incomplete: %s", result.errors[-1])
    if result.unlisted:
        requested = result.responses or result.arrived
        unknown = "; so it cannot be verified that all objects are here" if requested else ""
        _log.error("%s%s%s", "incomplete: " if requested else "", result.unlisted, unknown)


def _report_nothing(result: Result, config: Config, *, explained: bool) -> None:
    if result.unfound:
        what = "nothing found" if result.evidence.nothing_found else "incomplete"
        _log.error("%s: the archive lists nothing for %s", what, some(result.unfound))
    elif result.unmet:
        _log.error("%s: %s", "nothing found" if result.evidence.nothing_found else "incomplete", result.unmet)
    elif result.evidence.nothing_found and config.resolves and result.responses:
        _log.error("check whether the archive lets this AE title retrieve")  # the requests were named
    elif result.evidence.nothing_found and config.queries:
        _log.error("nothing found: the archive has nothing for these keys, or does not show it to this AE title")
    elif _nothing_came(result, config) and not explained:
        _log.warning("the archive had nothing to send: check the keys, and whether it lets this AE title retrieve them")


def brought_nothing(result: Result, config: Config, codes: Collection[ExitCode]) -> bool:
    """Return True if the archive delivered nothing, for a reason that C-FIND may explain.

    Without a port, an archive that reports success is believed.
    """
    if config.queries or result.arrived or result.broken_off or not result.responses or config.request.cancel_after:
        return False
    counted = any(response.completed for response in result.responses)
    return (config.receive is not None and _nothing_came(result, config)) or bool(codes and not counted)


def _report_listed(result: Result) -> None:
    """Log missing objects, and objects that the archive does not list."""
    for uid in result.missing_uids:
        _log.error("missing: SOP instance %s", uid)
    for uid in result.extra_uids:
        _log.warning("arrived but not listed by the archive: SOP instance %s", uid)
    if result.missing_uids:
        number = len(result.missing_uids)
        _log.error(
            "incomplete: %s that the archive lists %s missing after %d attempt%s",
            *(_objects(number), "is" if number == 1 else "are", result.attempts, "" if result.attempts == 1 else "s"),
        )
    elif _CONTRADICTING.intersection(reason.name for reason in result.judgement.reasons) and not (
        result.evidence.nothing_found or result.evidence.unfound
    ):
        _log.error(
            "every object that the archive lists was stored, but the archive's status or counts contradict the list"
        )


_CONTRADICTING: Final = frozenset(("REFUSED", "WARNED", "STOPPED", "COUNTED_AS_FAILED", "REMAINING", "SHORT"))
"""Names of reasons by which an archive contradicts its own list, if every listed object was stored."""


def _objects(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"


def some(names: Sequence[str]) -> str:
    """Return the first five names and the number of the others."""
    more = f" ... and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _nothing_came(result: Result, config: Config) -> bool:
    """Return True if every request succeeded without an object; some archives do not count."""
    successes = [response for response in result.responses if response.status == SUCCESS]
    if not successes or len(successes) < len(result.responses) or result.arrived:
        return False
    uncounted = any(response.completed is None for response in successes)
    counted = any(response.completed or response.warning or response.failed for response in successes)
    return not counted and (not uncounted or (config.receive is not None and not result.broken_off))


def report_rejected(rejected: tuple[RejectedClass, ...], config: Config, *, failed: bool) -> None:
    """Log the SOP classes with rejected presentation contexts: a likely cause of failure."""
    level = WARNING if failed else INFO
    accepted = frozenset(syntax.uid for syntax in config.receive.accepted) if config.receive else frozenset()
    for entry in rejected:
        name = uid_name(entry.sop_class_uid)
        what = name if name == entry.sop_class_uid else f"{name} ({entry.sop_class_uid})"
        offered = ", ".join(map(uid_name, entry.offered))
        _log.log(level, "not accepted from a sender: %s, offered in %s; %s", what, offered, _advice(entry, accepted))


def _advice(entry: RejectedClass, accepted: frozenset[str]) -> str:
    """Return advice on the options that would accept a class in one of the offered transfer syntaxes."""
    if not entry.known and not may_be_storage(entry.sop_class_uid):
        return "it is not a storage class"
    known = "" if entry.known else "--accept-unknown"
    if known and not accepted.isdisjoint(entry.offered):
        return f"{known} accepts it"
    preferences = _accepting_preferences(frozenset(entry.offered))
    if not preferences and not TRANSFER_SYNTAXES.keys().isdisjoint(entry.offered):
        return "no option accepts it"
    if not preferences:
        preferences = ["--accept-nonstandard with --bit-preserving (+B)"]
    return f"{known and f'{known} with '}{' or '.join(preferences)} accepts it"


def _accepting_preferences(offered: frozenset[str]) -> list[str]:
    """Return the options that prefer one of the transfer syntaxes, and the one that accepts all."""
    named: dict[tuple[str, ...], str] = {}  # by value: the first of several synonyms
    for option in OPTIONS:
        syntaxes = _uids(option)
        if option.field == "preferred" and (
            syntaxes[0] in offered or (option.long == "--accept-all" and not offered.isdisjoint(syntaxes))
        ):
            named.setdefault(syntaxes, option.short)
    return list(named.values())


def _uids(option: Option) -> tuple[str, ...]:
    syntaxes = option.value if option.field == "preferred" and isinstance(option.value, tuple) else ()
    return tuple(syntax.uid for syntax in syntaxes)


def _counts(response: MoveResponse) -> str:
    completed, failed, warning = map(_count, (response.completed, response.failed, response.warning))
    return f"{completed} completed, {failed} failed, {warning} with warning"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)

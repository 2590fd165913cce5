"""The configuration of a client from a program's values, each checked."""

from __future__ import annotations

from movescu._runtime.record import replace
from movescu.errors import UsageError
from movescu.retrieve.config import AE, Config, Receive, Request, RetrieveBy, Retry, Timeouts, check_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from movescu.query.selection import Selection
    from movescu.transport.tls import TLSOptions


def config_of(  # noqa: PLR0913 - those of ``Client``
    ae: AE | str,
    *,
    ae_title: str,
    listen: int | Receive | None,
    destination: str | None,
    timeouts: Timeouts,
    retry: Retry,
    request: Request | None,
    selection: Selection | None,
    tls: TLSOptions | SSLContext | tuple[SSLContext, SSLContext] | None,
    retrieve: str,
) -> Config:
    """Return the configuration; see ``Client``. Raise ``UsageError`` for an unusable value."""
    archive = AE.parse(ae) if isinstance(ae, str) else ae
    check_title("ae_title", ae_title)
    if destination is not None:
        check_title("destination", destination)
    for name, value, kind in (("timeouts", timeouts, Timeouts), ("retry", retry, Retry), ("request", request, Request)):
        if not (isinstance(value, kind) or (name == "request" and value is None)):
            raise UsageError(f"{name} {value!r} is not a {kind.__name__}")
    if selection is not None and not hasattr(selection, "conditions"):  # its module is loaded by those who have one
        raise UsageError(f"selection {selection!r} is not a Selection")
    if retrieve not in tuple(RetrieveBy):
        raise UsageError(f"retrieve {retrieve!r} is not one of {', '.join(RetrieveBy)}")
    return Config(
        archive=archive,
        ae_title=ae_title,
        destination=destination,
        timeouts=timeouts,
        retry=retry,
        receive=_receive_of(listen, RetrieveBy(retrieve)),
        request=_request_of(request),
        tls=tls,
        selection=selection,
        retrieve_by=RetrieveBy(retrieve),
    )


def _request_of(request: Request | None) -> Request:
    """Return a client's request, whose model is replaced for each request's keys unless it was stated."""
    given = Request() if request is None else request
    return given if given.model else replace(given, model="PATIENT")


def _receive_of(listen: int | Receive | None, retrieve_by: RetrieveBy) -> Receive | None:
    receive = Receive(listen) if isinstance(listen, int) and not isinstance(listen, bool) else listen
    if receive is not None and not isinstance(receive, Receive):
        raise UsageError(f"listen {listen!r} is neither a port number nor a Receive")
    if retrieve_by is RetrieveBy.GET:
        return replace(receive or Receive(None), port=None)
    return receive or (Receive(None) if retrieve_by is RetrieveBy.AUTO else None)

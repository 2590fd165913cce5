"""Forward a study: retrieve it from one archive and store each object in another as it arrives.

    python examples/forward.py 1.2.3 ARCHIVE archive.example.org 104 --own-title ME --port 11112 \
        --to OTHER other.example.org 104

The first archive gets the C-STORE response for an object only when the second one has stored it; no files are written.
The example also shows the layers below the library: an association, and messages over it.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

import movescu
from movescu.dataset.file_meta import decode_file_meta
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import PeerError
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.sockets import connect
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateRQ, ProposedContext

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

SECONDS = 30.0
SILENCE = Silence(SECONDS, "the archive that objects are forwarded to is silent")


class Forwarder:
    """A Storage SCU with one association for each SOP class and transfer syntax."""

    def __init__(self, title: str, host: str, port: int, own_title: str) -> None:
        self.title, self.host, self.port, self.own_title = title, host, port, own_title
        self.count = 0
        self._associations: dict[tuple[str, str], Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connection in self._associations.values():
            with contextlib.suppress(PeerError):  # every object has been acknowledged already
                connection.release(SILENCE)

    def forward(self, file: bytes) -> None:
        """Store an object. Raise ``RuntimeError`` if the archive refuses it, or ``movescu.errors.PeerError``."""
        meta = decode_file_meta(file)
        assert meta is not None
        class_uid, syntax = meta.sop_class_uid, meta.transfer_syntax_uid
        exchange = Exchange(self._association(class_uid, syntax))
        self.count += 1
        request = CStoreRQ(class_uid, self.count % 0x10000, meta.sop_instance_uid)
        exchange.send(1, request, SILENCE, memoryview(file)[meta.length :])
        _, response = exchange.receive_response(SILENCE)
        if not isinstance(response, CStoreRSP) or response.status != 0:
            raise RuntimeError(f"{self.title} does not take {request.affected_sop_instance_uid}")

    def _association(self, class_uid: str, syntax: str) -> Connection:
        connection = self._associations.get((class_uid, syntax))
        if connection is None:
            contexts = (ProposedContext(1, class_uid, (syntax,)),)
            request = AssociateRQ(self.title, self.own_title, contexts, user_information(16384))
            connection = Connection.request(connect(self.host, self.port, SECONDS), request, SECONDS)
            if 1 not in connection.contexts:
                connection.abort()
                raise RuntimeError(f"{self.title} does not take objects of class {class_uid} in {syntax}")
            self._associations[class_uid, syntax] = connection
        return connection


def main() -> int:
    """Forward a study. Return the exit code: 1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("study", "title", "host"):
        parser.add_argument(name)
    parser.add_argument("archive_port", type=int)
    parser.add_argument("--own-title", default="MOVESCU")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", nargs=3, metavar=("TITLE", "HOST", "PORT"), required=True)
    given = parser.parse_args()
    title, host, port = given.to
    with Forwarder(title, host, int(port), given.own_title) as forwarder:
        archive = movescu.AE(given.host, given.archive_port, given.title)
        retry = movescu.Retry(verify=True)
        with movescu.Client(archive, ae_title=given.own_title, listen=given.port, retry=retry) as client:
            result = client.retrieve({"StudyInstanceUID": given.study}, movescu.OnBytes(forwarder.forward))
    print(f"{result.outcome}: {result.stored} objects are in {title}")
    return 0 if result.complete else 1


if __name__ == "__main__":
    raise SystemExit(main())

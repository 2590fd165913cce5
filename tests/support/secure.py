"""Peers that speak TLS: Orthanc, a scripted archive, DCMTK's clients, pynetdicom as archive and as sender.

Their side of TLS is that of their makers (OpenSSL below all of them): nothing here uses movescu's own. DCMTK's dcmqrscp
and movescu have no TLS; its echoscu, storescu and storescp do.
"""

from __future__ import annotations

import json
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import peers
import pynetdicom
import scripted
from pydicom import dcmread
from pynetdicom import evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelMove,
)

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.ul.negotiation import propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from certificates import Certificates, Pair
    from corpus import Instance

PATIENCE = 30.0


HANDSHAKE_FAILED = (ssl.SSLError, ConnectionError)
"""What a handshake that the other side ends fails with."""


def server_context(pki: Certificates, pair: Pair, *, ciphers: str = "") -> ssl.SSLContext:
    """The TLS of an archive that wants a certificate of the good authority; ``ciphers``: these, and TLS 1.2 at most."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.authority))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_dh_params(str(pki.diffie_hellman))
    return _prepared(context, pair, ciphers)


def client_context(pki: Certificates, pair: Pair, *, ciphers: str = "") -> ssl.SSLContext:
    """The TLS of a sender."""
    return _prepared(ssl.create_default_context(cafile=str(pki.authority)), pair, ciphers)


def _prepared(context: ssl.SSLContext, pair: Pair, ciphers: str) -> ssl.SSLContext:
    context.load_cert_chain(pair.certificate, pair.key)
    if ciphers:
        context.set_ciphers(ciphers)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


# -- a scripted archive ------------------------------------------------------------------------------------------------


class Archive(scripted.Archive):
    """Speaks TLS; what of that fails is left to the program under test, which is asked what it makes of it."""

    def __init__(self, script: scripted.Script, context: ssl.SSLContext) -> None:
        super().__init__(script)
        self._context = context
        self.asked_for: list[str | None] = []
        context.sni_callback = lambda _, name, __: self.asked_for.append(name)

    def _run(self) -> None:
        try:
            with self._listening:
                sock, _ = self._listening.accept()
            sock.settimeout(PATIENCE)
            with sock, self._context.wrap_socket(sock, server_side=True) as secured:
                self._scripts[0](scripted.Session(secured))
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            self._error = error


@contextmanager
def archive(script: scripted.Script, context: ssl.SSLContext) -> Iterator[Archive]:
    """Run a script against the first association, over TLS."""
    running = Archive(script, context)
    running.start()
    try:
        yield running
    except BaseException as failure:
        running.explain(failure)
        raise
    running.finish()


# -- Orthanc -----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Orthanc(peers.Orthanc):
    """Answers C-ECHO over TLS alone."""

    tls: tuple[str, ...] = ()

    def echo(self) -> bool:
        command = ["echoscu", *self.tls, "-q", "-to", "5", "-ta", "5", "-aec", self.aet, self.host, str(self.port)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def orthanc(
    pki: Certificates, destinations: dict[str, peers.Address], *, secure: bool = True, wants_certificate: bool = True
) -> Iterator[peers.Orthanc]:
    """Orthanc with a certificate of the good authority; ``secure``: it sends over TLS, too."""

    def start(folder: Path) -> _Orthanc:
        port, http_port = peers.free_port(), peers.free_port()
        config = {
            "DicomAet": "ORTHANC",
            "DicomPort": port,
            "HttpPort": http_port,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "TemporaryDirectory": str(folder),
            "Plugins": [],
            "DicomAlwaysAllowMove": True,
            "DicomAlwaysAllowFind": True,
            "SyncStorageArea": False,
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(pki.theirs.certificate),
            "DicomTlsPrivateKey": str(pki.theirs.key),
            "DicomTlsTrustedCertificates": str(pki.authority),
            "DicomTlsRemoteCertificateRequired": wants_certificate,
            "DicomModalities": {
                title: {"AET": title, "Host": host, "Port": number, "UseDicomTls": secure}
                for title, (host, number) in destinations.items()
            },
        }
        (folder / "orthanc.json").write_text(json.dumps(config, indent=2))
        process, lifeline = peers.spawn(["Orthanc", "--verbose", str(folder / "orthanc.json")], folder)
        tls = ("+tls", str(pki.theirs.key), str(pki.theirs.certificate), "+cf", str(pki.authority))
        return _Orthanc("Orthanc", "ORTHANC", port, folder, process, lifeline, http_port=http_port, tls=tls)

    with peers.up("orthanc", start) as peer:
        yield peer


# -- DCMTK's clients ---------------------------------------------------------------------------------------------------


def send_by_dcmtk(port: int, *options: object, files: Sequence[Path] = ()) -> bool:
    """Send files by storescu, or ask for an echo where there are none; whether it was all done."""
    tool = "storescu" if files else "echoscu"
    command = [tool, *options, "-to", 10, "-ta", 10, "-td", 10, peers.HOST, port, *files]
    result = subprocess.run([*map(str, command)], check=False, capture_output=True, env=peers.quick_environment())
    return result.returncode == 0


# -- pynetdicom --------------------------------------------------------------------------------------------------------


def send_by_pynetdicom(port: int, context: ssl.SSLContext, files: Iterable[Path]) -> list[int]:
    """Send CT objects; gives the statuses, none if there was no association."""
    entity = pynetdicom.AE("SENDER")
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(peers.HOST, port, tls_args=(context, "localhost"))
    statuses = []
    if association.is_established:
        statuses = [association.send_c_store(dcmread(file)).Status for file in files]
        association.release()
    return statuses


@contextmanager
def pynetdicom_archive(
    context: ssl.SSLContext, sending: ssl.SSLContext, destination: peers.Address, instances: Sequence[Instance]
) -> Iterator[peers.Address]:
    """An archive that answers every C-MOVE with these objects; gives its address."""

    def handle_move(_: evt.Event) -> Iterator[object]:
        yield *destination, {"tls_args": (sending, "localhost")}
        yield len(instances)
        for instance in instances:
            yield 0xFF00, dcmread(instance.path)

    entity = pynetdicom.AE("ARCHIVE")
    entity.add_supported_context(PatientRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(PatientRootQueryRetrieveInformationModelMove)
    entity.add_requested_context(CTImageStorage)
    server = entity.start_server(
        (peers.HOST, 0), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_MOVE, handle_move)]
    )
    try:
        yield server.socket.getsockname()
    finally:
        server.shutdown()


def association_request() -> bytes:
    """An A-ASSOCIATE-RQ for CT objects."""
    contexts = propose((CTImageStorage,), (EXPLICIT_LITTLE,))
    return AssociateRQ("MOVESCU", "SENDER", contexts, user_information(16384)).encode()

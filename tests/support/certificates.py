"""Keys and certificates for the tests of TLS, made by the ``openssl`` command: good ones, and one of each bad kind.

One authority that everyone trusts, another that is trusted where a test says so, and what the first one has signed or
taken back. ``made`` takes a second when first called; RSA keys and not elliptic curves, for the suites of old peers.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PASSWORD = "open sesame"  # of a key that lives as long as the tests

HERE = "DNS:localhost,IP:127.0.0.1"
ELSEWHERE = "DNS:archive.example"

_CONFIG = """
[ca]
default_ca = authority
[authority]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = supplied
[names]
subjectAltName = $ENV::NAMES
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Pair(NamedTuple):
    """A private key and a certificate, in the order of ``+tls``."""

    key: Path
    certificate: Path


@dataclass(frozen=True)
class Certificates:
    """Everything there is. ``ours`` and ``theirs`` are good, for both directions; the others are like ``theirs``, but
    for what they are called.

    ``revoked`` is so in ``crl`` alone. ``encrypted`` is ``ours`` with a key that ``PASSWORD`` opens. ``directory`` has
    the authority's certificate under the name that OpenSSL looks for.
    """

    authority: Path
    other_authority: Path
    directory: Path
    crl: Path
    diffie_hellman: Path
    ours: Pair
    encrypted: Pair
    theirs: Pair
    elsewhere: Pair
    expired: Pair
    revoked: Pair
    stranger: Pair


@functools.cache
def made() -> Certificates:
    """All of them, in a folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="movescu-certificates-")
    atexit.register(shutil.rmtree, folder)
    return _make(Path(folder))


def _make(folder: Path) -> Certificates:
    good, other = _Authority(folder / "good"), _Authority(folder / "other")
    our_key, their_key = _key(folder / "our.key"), _key(folder / "their.key")
    ours = Pair(our_key, good.sign(our_key, "ours"))
    revoked = Pair(their_key, good.sign(their_key, "revoked"))
    return Certificates(
        authority=good.certificate,
        other_authority=other.certificate,
        directory=_directory(folder / "directory", good.certificate),
        crl=good.revoke(revoked.certificate),
        diffie_hellman=_group(folder / "dh.pem"),
        ours=ours,
        encrypted=Pair(_encrypt(our_key, folder / "encrypted.key"), ours.certificate),
        theirs=Pair(their_key, good.sign(their_key, "theirs")),
        elsewhere=Pair(their_key, good.sign(their_key, "elsewhere", names=ELSEWHERE)),
        expired=Pair(their_key, good.sign(their_key, "expired", end="20200102000000Z")),
        revoked=revoked,
        stranger=Pair(their_key, other.sign(their_key, "stranger")),
    )


class _Authority:
    """Signs certificates, and takes them back."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._config = folder / "config"
        self._config.write_text(_CONFIG.format(folder=folder))
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        self.certificate = folder / "ca.pem"
        key = _key(folder / "ca.key")
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # Python 3.13 wants it (VERIFY_X509_STRICT)
        subject = ["-subj", f"/CN={folder.name}"]
        _openssl("req", "-x509", "-key", key, "-out", self.certificate, "-days", 30, *subject, *usage)

    def sign(self, key: Path, name: str, *, names: str = HERE, end: str = "20991231000000Z") -> Path:
        request, certificate = self._folder / f"{name}.csr", self._folder / f"{name}.pem"
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        period = ["-startdate", "20200101000000Z", "-enddate", end]
        self._run("-in", request, "-out", certificate, "-notext", *period, "-extensions", "names", names=names)
        return certificate

    def revoke(self, certificate: Path) -> Path:
        crl = self._folder / "crl.pem"
        self._run("-revoke", certificate)
        self._run("-gencrl", "-out", crl)
        return crl

    def _run(self, *arguments: object, names: str = HERE) -> None:
        _openssl("ca", "-batch", "-config", self._config, *arguments, names=names)


def _key(path: Path) -> Path:
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    return path


def _group(path: Path) -> Path:
    _openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", path)
    return path


def _encrypt(key: Path, path: Path) -> Path:
    _openssl("pkey", "-in", key, "-aes256", "-passout", f"pass:{PASSWORD}", "-out", path)
    return path


def _directory(path: Path, certificate: Path) -> Path:
    path.mkdir()
    (path / "authority.pem").write_bytes(certificate.read_bytes())
    _openssl("rehash", path)
    return path


def _openssl(*arguments: object, names: str = HERE) -> None:
    command = ["openssl", *map(str, arguments)]
    environment = {**os.environ, "NAMES": names}
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}:\n{result.stderr}"

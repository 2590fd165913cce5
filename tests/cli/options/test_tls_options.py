"""TLS options: an unusable key, certificate or cipher suite ends the run with 70 and a reason before any association.

Also what needs no archive: the lists of profiles and cipher suites, and the prompt for the password.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import certificates
import peers
import pytest
from certificates import PASSWORD, Certificates
from command import movescu

from movescu.transport.tls import cipher_suites

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Options = Callable[[Certificates, Path], list[object]]

KEYS = ("-k", "QueryRetrieveLevel=PATIENT")

pytestmark = pytest.mark.xdist_group("tls")  # certificates are made once


@pytest.fixture(scope="module")
def pki() -> Certificates:
    return certificates.made()


UNUSABLE: dict[str, tuple[Options, str, str]] = {
    "no key file": (lambda pki, here: ["+tls", here / "none", pki.ours.certificate], "none': No such file", ""),
    "no certificate file": (lambda pki, here: ["+tls", pki.ours.key, here / "none"], "none': No such file", ""),
    "a directory": (lambda pki, here: ["+tls", here, pki.ours.certificate], "Is a directory", ""),
    "no PEM": (lambda pki, here: ["+tls", here / "text", pki.ours.certificate], "no private key in", "PEM"),
    "key and certificate exchanged": (
        lambda pki, _: ["+tls", pki.ours.certificate, pki.ours.key],
        "no private key in",
        "the key comes first",
    ),
    "key of another certificate": (
        lambda pki, _: ["+tls", pki.theirs.key, pki.ours.certificate],
        "do not belong together",
        "--enable-tls KEY CERT",
    ),
    "wrong password": (lambda pki, _: ["+tls", *pki.encrypted, "+pw", "guess"], "wrong password", "--use-passwd"),
    "empty password": (lambda pki, _: ["+tls", *pki.encrypted, "-pw"], "wrong password", "--use-passwd"),
    "no authority file": (lambda pki, here: ["+tls", *pki.ours, "+cf", here / "none"], "No such file", ""),
    "an authority file without certificates": (
        lambda pki, here: ["+tls", *pki.ours, "+cf", here / "text"],
        "neither certificate nor revocation list",
        "PEM",
    ),
    "no revocation list": (lambda pki, here: ["+tls", *pki.ours, "+crl", here / "none"], "No such file", ""),
    "no directory": (lambda pki, here: ["+tls", *pki.ours, "+cd", here / "none"], "No such file", ""),
    "a directory without hashes": (
        lambda pki, here: ["+tls", *pki.ours, "+cd", here],
        "would find no certificate",
        "openssl rehash",
    ),
    "unknown cipher suite": (
        lambda pki, _: ["+tls", *pki.ours, "+cs", "TLS_NEVER_HEARD"],
        "unknown cipher suite 'TLS_NEVER_HEARD'",
        "--list-ciphers",
    ),
    "a suite that does not encrypt": (lambda pki, _: ["+tls", *pki.ours, "+cs", "NULL-SHA"], "unknown", ""),
    "nothing to verify senders by": (
        lambda pki, _: ["+tls", *pki.ours, "+P", peers.free_port()],
        "no certificate authority is given",
        "--ignore-peer-cert",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.sampled(5)
def test_tls_file_that_is_unusable_is_reported_before_the_association(
    pki: Certificates, case: str, tmp_path: Path
) -> None:
    options, reason, advice = UNUSABLE[case]
    (tmp_path / "text").write_text("no certificate\n")
    arguments = [*KEYS, *options(pki, tmp_path), peers.HOST, peers.free_port()]  # a refused connection would be 61
    outcome = movescu(*arguments, folder=tmp_path, code=70)
    assert "cannot set up TLS" in outcome.log
    assert reason in outcome.log
    assert advice in outcome.log


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["+tla", "+P", 11112], "--anonymous-tls not allowed with --port"),
        (["-ic"], "--ignore-peer-cert only allowed with --enable-tls or --anonymous-tls"),
        (["+tla", "-pw"], "--null-passwd only allowed with --enable-tls"),
        (["+tla", "--no-sni"], "--no-sni only allowed with --no-host-check or --ignore-peer-cert"),
    ],
)
def test_tls_options_that_conflict_are_refused(options: list[object], text: str, tmp_path: Path) -> None:
    assert text in movescu(*KEYS, *options, peers.HOST, 104, folder=tmp_path, code=1).log


@pytest.mark.parametrize(
    ("typed", "code"), [(f"{PASSWORD}\n", 61), ("guess\n", 70), ("", 70)], ids=["right", "wrong", "nothing"]
)
def test_key_password_is_read_once_from_standard_input_without_a_terminal(
    pki: Certificates, typed: str, code: int, tmp_path: Path
) -> None:
    # With a port, two contexts need the key. 61: all was set up, and there is no archive.
    options = ["+tls", *pki.encrypted, "+cf", pki.authority, "+P", peers.free_port()]
    command = [sys.executable, "-m", "movescu", *KEYS, *options, peers.HOST, peers.free_port()]
    result = subprocess.run(
        [*map(str, command)],
        check=False,
        cwd=tmp_path,
        input=typed,
        capture_output=True,
        text=True,
        start_new_session=True,  # without the terminal that the tests may have been started from
    )
    assert result.returncode == code, result.stderr
    assert PASSWORD not in result.stderr


def test_cipher_suite_list_has_standard_names_that_can_all_be_chosen(pki: Certificates, tmp_path: Path) -> None:
    names = movescu("+cc", folder=tmp_path).output.split()
    openssl = subprocess.run(["openssl", "ciphers", "-stdname", "ALL"], check=True, capture_output=True, text=True)
    standard = {line.split()[0]: line.split()[2] for line in openssl.stdout.splitlines()}
    suites = [name for name in names if name.startswith("TLS_")]
    assert {name: standard[name] for name in suites} == cipher_suites()
    assert {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"} <= set(suites)
    assert not [name for name in suites if "NULL" in name or "anon" in name]
    chosen = [word for name in suites for word in ("+cs", name)]
    movescu(*KEYS, "+tls", *pki.ours, *chosen, peers.HOST, peers.free_port(), folder=tmp_path, code=61)


def test_cipher_suites_of_dcmtk_are_known_by_its_names() -> None:
    listed = subprocess.run(["storescu", "+cc"], check=True, capture_output=True, text=True).stdout.split()
    suites = {name for name in listed if name.startswith("TLS_")}
    outdated = {name for name in suites if any(part in name for part in ("NULL", "CAMELLIA", "DSS"))}
    assert suites - outdated <= set(cipher_suites())


def test_profile_list_names_the_supported_profiles(tmp_path: Path) -> None:
    output = movescu("+ph", folder=tmp_path).output
    assert "BCP 195 TLS Profile" in output
    assert "Non-downgrading BCP 195 TLS Profile" in output


def test_tls_modules_are_not_loaded_without_tls(tmp_path: Path) -> None:
    program = (
        "import sys; from movescu.cli.main import main; "
        f"code = main({[*KEYS, '+P', str(peers.free_port()), peers.HOST, str(peers.free_port())]!r}); "
        "print(code, sorted({'ssl', '_ssl', 'movescu.transport.tls', 'getpass'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout == "61 []\n"

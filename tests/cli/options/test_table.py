"""Option table: complete and consistent for the parser, the help and DCMTK's users."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from movescu._runtime.record import names_of
from movescu.cli.docs.banner import version_text
from movescu.cli.docs.help import help_text
from movescu.cli.options.settings import CommandSettings
from movescu.cli.options.table import NAMES, OPTIONS
from movescu.dictionary.uids import DEFLATED_LITTLE, TRANSFER_SYNTAXES, UNCOMPRESSED

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

# The option names of the manual of 2014, and those that DCMTK has added since.
MANUAL = """
-h --help --version --arguments -q --quiet -v --verbose -d --debug -ll --log-level -lc --log-config -k --key
-P --patient -S --study -O --psonly -aet --aetitle -aec --call -aem --move +x= --prefer-uncompr +xe --prefer-little
+xb --prefer-big +xs --prefer-lossless +xy --prefer-jpeg8 +xx --prefer-jpeg12 +xv --prefer-j2k-lossless
+xw --prefer-j2k-lossy +xt --prefer-jls-lossless +xu --prefer-jls-lossy +xm --prefer-mpeg2 +xh --prefer-mpeg2-high
+xn --prefer-mpeg4 +xl --prefer-mpeg4-bd +xr --prefer-rle +xd --prefer-deflated +xi --implicit +xa --accept-all
-x= --propose-uncompr -xe --propose-little -xb --propose-big -xd --propose-deflated -xi --propose-implicit
-ac --access-full +ac --access-control --no-port +P --port -pi --pending-ignore -pr --pending-read -to --timeout
-ta --acse-timeout -td --dimse-timeout -pdu --max-pdu -dhl --disable-host-lookup --repeat --abort --ignore --cancel
-up --uid-padding -od --output-directory -B --normal +B --bit-preserving +F --write-file -F --write-dataset
+t= --write-xfer-same +te --write-xfer-little +tb --write-xfer-big +ti --write-xfer-implicit +td --write-xfer-deflated
+u --enable-new-vr -u --disable-new-vr +g= --group-length-recalc +g --group-length-create -g --group-length-remove
+e --length-explicit -e --length-undefined -p --padding-off +p --padding-create +cl --compression-level
+x2 --prefer-mpeg4-2-2d +x3 --prefer-mpeg4-2-3d +xo --prefer-mpeg4-2-st +x4 --prefer-hevc +x5 --prefer-hevc10
-i4 --ipv4 -i6 --ipv6 -i0 --ip-auto -tls --disable-tls +tls --enable-tls +tla --anonymous-tls +ps --std-passwd
+pw --use-passwd -pw --null-passwd -pem --pem-keys -der --der-keys +cf --add-cert-file +cd --add-cert-dir
+crl --add-crl-file +crv --enable-crl-vfy +cra --enable-crl-all -rc --require-peer-cert -vc --verify-peer-cert
-ic --ignore-peer-cert +px --profile-bcp195 +py --profile-bcp195-nd +pg --profile-8996 +pm --profile-8996-mod
+pz --profile-bcp195-ex +pb --profile-basic +pa --profile-aes +pn --profile-null +cs --cipher +ph --list-profiles
+cc --list-ciphers +dp --dhparam +rs --seed +ws --write-seed +wf --write-seed-file --no-sni --request-sni --expect-sni
--no-host-check --durable --keys-only --accept-unknown --accept-nonstandard --allow-aet --require-called-aet --listen
--accept-from --only-requested
--max-associations --max-inflated --priority --relational --enhanced-conversion --linger --store-timeout --stall-timeout
--total-timeout --user --password-file --kerberos --saml --jwt --completion --site --sites --setup --check --no-progress
--layout --report --events --failed --verify --retry --retry-pause --resume --list --jobs --slots --wait-for-archive
--journal --status --check-files --sample --between --limit-rate --dry-run --on-study --on-series --on-jobs --manifest
--cluster --ae-pool --worker-files --collect --html --live --thumbnails --pseudonymise --order --split
--query --format --count --resolve --only --exclude --max-studies --all --retrieve
"""


def test_options_are_those_of_the_manual_and_ours() -> None:
    assert sorted(NAMES) == sorted(MANUAL.split())


def test_option_names_are_unique() -> None:
    assert len(NAMES) == sum(bool(option.short) + 1 for option in OPTIONS)


def test_options_and_settings_fields_correspond() -> None:
    parameters = {"peer", "port", "query_files", "warnings"}
    assert {option.field for option in OPTIONS} - {""} == set(names_of(CommandSettings)) - parameters


def test_option_conflicts_and_needs_name_existing_options() -> None:
    for option in OPTIONS:
        named = {name for group in option.conflicts for name in group} | set(option.needs)
        assert named <= {other.long for other in OPTIONS} - {option.long}, option.long


def test_option_group_has_one_default_at_most() -> None:
    defaults = [option.group for option in OPTIONS if option.default]
    assert len(defaults) == len(set(defaults))


def test_preference_always_includes_implicit_vr() -> None:
    for option in OPTIONS:
        if option.field == "preferred":
            syntaxes = option.value
            assert isinstance(syntaxes, tuple), option.long
            assert len(set(syntaxes)) == len(syntaxes), option.long
            assert syntaxes[-1].uid == "1.2.840.10008.1.2", option.long


def preference(name: str) -> tuple[TransferSyntax, ...]:
    value = NAMES[name].value
    assert isinstance(value, tuple)
    return value


def test_preference_for_a_compressed_syntax_precedes_uncompressed_ones() -> None:
    compressed = {
        "+xs": "4.70",
        "+xy": "4.50",
        "+xx": "4.51",
        "+xv": "4.90",
        "+xw": "4.91",
        "+xt": "4.80",
        "+xu": "4.81",
        "+xm": "4.100",
        "+xh": "4.101",
        "+xn": "4.102",
        "+xl": "4.103",
        "+x2": "4.104",
        "+x3": "4.105",
        "+xo": "4.106",
        "+x4": "4.107",
        "+x5": "4.108",
        "+xr": "5",
    }
    for name, uid in compressed.items():
        assert preference(name) == (TRANSFER_SYNTAXES[f"1.2.840.10008.1.2.{uid}"], *UNCOMPRESSED)


def test_accept_all_accepts_every_transfer_syntax_in_dcmtks_order() -> None:
    accepted = preference("+xa")
    assert set(accepted) == set(TRANSFER_SYNTAXES.values())
    first = [syntax.uid.removeprefix("1.2.840.10008.1.2.") for syntax in accepted[:9]]
    assert first == ["4.91", "4.90", "4.51", "4.50", "4.70", "4.81", "4.80", "5", "4.100"]
    assert accepted[-4:] == (DEFLATED_LITTLE, *UNCOMPRESSED)


def test_help_shows_every_option_once() -> None:
    text = help_text()
    rows = re.findall(r"^ {2,4}(?:([-+]\S+))? +(--[a-z0-9-]+)(?= |$)", text, re.MULTILINE)
    assert rows == [(option.short, option.long) for option in OPTIONS]


def test_help_shows_bounds_defaults_and_unsupported_options() -> None:
    text = re.sub(r"\s+", " ", help_text())
    assert (
        "--max-pdu BYTES largest PDU to receive, in bytes; auto chooses the fastest (4096..131072; default: 16384)"
        in text
    )
    assert "--timeout SEC connection timeout, in seconds (default: 30)" in text
    assert "--patient Patient Root; requests name a PatientID (default)" in text
    for option in OPTIONS:
        shown = text.partition(f"{option.long} ")[2].partition(" --")[0]
        assert ("not available yet" in shown or "not supported" in shown) is bool(option.refusal)


def test_version_is_the_package_version() -> None:
    assert version_text().startswith("movescu 1.0.0\n")


def test_table_and_parser_import_nothing_slow() -> None:
    # Each of these costs as much as the whole rest of a start. A parse without a mistake needs none of them.
    code = (
        "import sys; before = set(sys.modules); from movescu.cli.options.command_line import parse;"
        "parse(['-v', '-k', 'PatientID=1', 'archive', '104']); print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {
        "argparse",
        "difflib",
        "pathlib",
        "logging",
        "pydicom",
        "rich",
        "ssl",
        "asyncio",
        "textwrap",
        "importlib.metadata",
    }
    assert slow.isdisjoint(ran.stdout.split())

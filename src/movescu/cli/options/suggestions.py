"""Suggestions for options that do not exist: by meaning first, then by spelling, then by the words of help texts.

``MEANT`` has the names that options have elsewhere: in dcm4che's and pynetdicom's programs, in curl, rsync and rclone,
and those that people try first. Imported only after a mistake.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from movescu.cli.options.table import NAMES, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

SURE: Final = 0.8
"""Lowest similarity of a spelling that counts as a typing error."""
LIKELY: Final = 0.65
"""The same, where the word makes no sense otherwise."""
_SHORTEST_WORD: Final = 3  # letters of a word that is looked for in help texts
_MOST_SUGGESTIONS: Final = 3

# What is meant -> the names that are tried. What begins with a sign is an option, with its value if one is needed.
_TRIED: Final = {
    "-od DIR (--output-directory)": "-o --output --out --outdir --out-dir --output-dir --output-folder --output-path "
    "--outputdir --dir --directory --folder --dest-dir --save --save-to --store-dir --target-dir --download-dir",
    "--port NUMBER (+P)": "--listen-port --local-port --receive-port --recv-port --store-port --scp-port --own-port "
    "--my-port --bind-port --store --incoming-port",
    "--aetitle TITLE (-aet)": "--ae --aet --ae-title --calling --calling-aet --calling-ae --calling-aetitle "
    "--calling-ae-title --my-aet --my-ae --own-title --own-aet --local-aet --source-aet --scu-aet --title -b --bind",
    "--call TITLE (-aec)": "--aec --called --called-aet --called-ae --called-aetitle --called-ae-title --remote-aet "
    "--peer-aet --scp-aet --archive-aet --archive",
    "--move TITLE (-aem)": "--aem --dest --destination --move-destination --move-to --move-aet --dest-aet "
    "--destination-aet --store-aet --to",
    "TITLE@host:port, without an option": "--host --hostname --server --peer --remote --address --url -H -c --connect "
    "--pacs --ip",
    "-k QueryRetrieveLevel=STUDY": "--level -L --query-level --retrieve-level --query-retrieve-level",
    "-k StudyInstanceUID=UID": "--study-uid --studyuid --study-instance-uid --uid --suid --study-id",
    "-k SeriesInstanceUID=UID": "--series --series-uid --seriesuid --series-instance-uid",
    "-k SOPInstanceUID=UID": "--instance --instance-uid --sop-instance-uid --image-uid --image",
    "-k PatientID=ID": "--patient-id --patientid --pid --mrn",
    "-k AccessionNumber=NUMBER with --resolve": "--accession --accession-number --acc",
    "-k Keyword=VALUE": "-m --match --query-key --filter-key --tag",
    "--list FILE": "-i -f --file --input --input-file --csv --batch --from-file --uids --uid-file --worklist",
    "--jobs N": "-j --threads --workers --parallel --concurrency --concurrent --processes",
    "--retry N": "--retries --max-retries --tries --attempts",
    "--limit-rate RATE": "--bwlimit --bw-limit --bandwidth --rate --rate-limit --max-rate --throttle",
    "--dry-run": "-n --dryrun --simulate --no-act --what-if --whatif --pretend",
    "--query": "--find --search --list-studies --cfind --c-find --ls",
    "--retrieve get": "--get --cget --c-get",
    "--retrieve move": "--cmove --c-move",
    "--check": "--test --ping --echo --doctor --diagnose --verify-connection --connectivity",
    "--setup": "--init --configure --configuration --wizard --add-site --new-site",
    "--sites": "--list-sites --show-sites --site-list",
    "--site NAME": "--config --profile-name --preset --connection --from",
    "--resume": "--continue --skip-existing --no-overwrite --ignore-existing --sync --incremental --restart",
    "--report FILE": "--json --output-json --summary --result --results --log-json",
    "--format csv": "--output-csv --csv-output",
    "--only CONDITION": "--include --filter --modality --select --where",
    "--exclude CONDITION": "--skip --without --omit --not",
    "--manifest FILE": "--checksum --checksums --hash --hashes --md5 --sha256 --sha --digest",
    "--on-study COMMAND": "--exec --hook --run --command --post --on-complete --after",
    "--between TIMES": "--schedule --window --night --hours --time-window --off-hours",
    "--layout LAYOUT": "--tree --structure --organize --organise --subfolders --sort --template --naming --rename "
    "--filename-format --file-name --filename",
    "+tls KEY CERT (--enable-tls)": "--tls --ssl --https --secure --cert --certificate",
    "+cf FILE (--add-cert-file)": "--ca --cacert --ca-cert --ca-file --ca-certificate --trust",
    "-ic (--ignore-peer-cert)": "--insecure --no-verify --no-check-certificate --allow-insecure",
    "--user NAME": "--username --login --user-name --identity",
    "--password-file FILE": "--password --passwd --pass --pw",
    "--quiet (-q)": "-s --silent --no-output",
    "--debug (-d)": "-vv -vvv --trace --very-verbose --full-debug",
    "--version": "-V -version --ver",
    "--help (-h)": "-? --usage -help --man --manual --options",
    "--log-config FILE (-lc)": "--log-file --logfile --log --log-to",
    "--no-progress": "--no-bar --no-progress-bar --batch-mode --plain --non-interactive",
    "-to SEC (--timeout)": "--connect-timeout --connection-timeout --tcp-timeout",
    "--total-timeout SEC": "--max-time --deadline --time-limit",
    "+xa (--accept-all)": "--any-syntax --all-syntaxes --compressed --transfer-syntax --accept-compressed",
    "--study (-S)": "--study-root --studyroot --model",
    "--patient (-P)": "--patient-root --patientroot",
    "--max-studies N": "--limit --max --max-results --top",
}
_TRIED_OF_LISTS: Final = {
    "--format json": "--json --output-json --result --results --summary --log-json",
    "--format csv": "--csv --output-csv --csv-output",
    "--format csv (or json), and > FILE at the end": "-o --output --out --output-file --outfile --save --save-to",
}
"""The same beside ``--query`` and others that print a list."""
MEANT: Final = {name: meant for meant, names in _TRIED.items() for name in names.split()}


MEANT_OF_LISTS: Final = {name: meant for meant, names in _TRIED_OF_LISTS.items() for name in names.split()}


def hint_for(word: str, words: Iterable[str] = ()) -> str:
    """Return a hint for an unknown option among ``words``, empty if nothing is like it."""
    prints = any(other.partition("=")[0] in NAMES["--format"].needs for other in words)
    name = word.partition("=")[0]
    meant = (MEANT_OF_LISTS.get(name) if prints else None) or MEANT.get(name)
    meant = meant or (MEANT.get(name.lower()) if name.startswith("--") else None)
    if meant is not None:
        return f"You probably mean {meant}."
    near = get_close_matches(word, NAMES, n=1, cutoff=SURE)
    if not near and (tried := get_close_matches(name, MEANT, n=1, cutoff=SURE)):
        return f"You probably mean {MEANT[tried[0]]}."
    if (apart := _with_value(word)) and (not near or word.startswith(near[0])):
        return f"Write the value as a word of its own: {apart}."
    near = near or _related(name) or get_close_matches(word, NAMES, n=1, cutoff=LIKELY)
    return f"Did you mean {either(near)}?" if near else ""


def _with_value(word: str) -> str:
    """Return a short name and its value, if a word is both; else empty."""
    for length in range(len(word) - 1, 1, -1):
        option, value = NAMES.get(word[:length]), word[length:]
        if option is not None and len(option.takes) == 1 and not word.startswith("--"):
            kind = option.takes[0].kind
            fits = value.isdecimal() if kind in ("integer", "seconds") else kind != "key" or "=" in value
            return f"{word[:length]} {value}" if fits else ""
    return ""


def _related(name: str) -> list[str]:
    """Return the options, three at most, whose names and help texts best match the words of an unknown name."""
    wanted = {part for part in name.strip("+-").lower().split("-") if len(part) >= _SHORTEST_WORD}
    ranks: dict[str, int] = {}
    for option in OPTIONS:
        named, told = (_words(text) for text in (option.long, option.help))
        if not option.refusal:
            ranks[option.long] = sum(2 * _has(named, part) + _has(told, part) for part in wanted)
    best = max(ranks.values())
    return [long for long, rank in ranks.items() if rank == best > 0][:_MOST_SUGGESTIONS]


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def _has(words: Iterable[str], part: str) -> bool:
    return any(word.startswith(part) for word in words)


def either(names: Iterable[str]) -> str:
    """Return names joined by commas and "or"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last

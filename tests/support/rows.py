"""What a hostile or faulty peer may do, and what has to come of it: the table that the tests of reliability hold.

A test that holds a row says so by ``@pytest.mark.row(ID)``, with the ID as it stands here.
``tools/make_reliability_table.py`` collects the marks and writes rows and tests into ``docs/reliability.md``; a row
that no test holds fails a test.

The rows named after a published weakness are what other receivers were once broken by; the numbered ones are
situations, whoever has a weakness there.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """A situation: how tests refer to it, what comes in, and what has to come of it."""

    row: str
    situation: str
    outcome: str


PUBLISHED: Final = (
    Row("CVE-2015-8979", "a presentation context item longer than its PDU", "A-ABORT; the next association is served"),
    Row(
        "DCMTK-69f67a781",
        "an A-ASSOCIATE-RQ of 4 GiB, a PDV length that wraps, sub-items 51H and 54H too short",
        "judged by the 6 bytes of the header, and by a cap; A-ABORT",
    ),
    Row(
        "pynetdicom-1086", "500 MB sent before any association", "refused at the header; memory grows by less than 5 MB"
    ),
    Row(
        "CVE-2022-2119",
        "a UID of `../x`, `/abs`, `..` in the request or the data set, in each mode of writing",
        "nothing is written outside the output directory",
    ),
    Row("CVE-2026-52868", "an AE title of `../x`", "an AE title is never part of a path"),
    Row("CVE-2026-5663", "a UID of `;$(id)`, and control characters", "no shell sees it; logs and names escape it"),
    Row("CVE-2022-2121", "an empty data set, or one that is cut off", "C000, no file"),
    Row(
        "CVE-2021-41687",
        "10,000 associations and requests that fail",
        "resident memory, threads and descriptors stay as they were",
    ),
    Row(
        "CVE-2024-34508",
        "each element of a command missing, empty or of a wrong length",
        "A-ABORT, or a status that says so; what a storage SCP has no use for may be missing or of any length",
    ),
    Row("CVE-2025-14607", "odd text lengths, wrong VRs, sequence tags that are none", "no exception gets out"),
    Row("IC-DCMTK-0003", "100,000 sequences in each other", "C000; no stack overflows"),
    Row(
        "CVE-2026-3650",
        "file meta elements of odd VRs, fragments of less than 3 bytes, group lengths that lie, compressed bombs",
        "memory stays bounded",
    ),
    Row(
        "CVE-2024-23912", "malformed associations, an application context name of 64 KB", "A-ABORT or refusal; no crash"
    ),
    Row("CVE-2019-11687", "an executable in the preamble", "the preamble of a file is 128 zeros, always"),
    Row("CVE-2026-5441", "pixel data that no decoder survives", "pixel data are never decoded: stored as they came"),
)
"""Published weaknesses of others, by their first CVE number or commit."""

SITUATIONS: Final = (
    # PDUs
    Row("1", "an A-ASSOCIATE-RQ of length 0, or with items cut off", "A-ABORT"),
    Row("2", "a PDU length of FFFFFFFF", "A-ABORT at the header"),
    Row(
        "3",
        "an unknown PDU type; P-DATA-TF before an association; a presentation context that was not negotiated",
        "A-ABORT",
    ),
    Row("4", "protocol version 0, or 2", "rejected with 1/2/2: bit 0 is tested, and no other"),
    Row("5", "a PDV longer than its PDU, of length 0, 80000010 or FFFFFFFF", "A-ABORT"),
    Row(
        "6",
        "an even presentation context ID",
        "accepted, with one warning a sender: toolkits in the field send them, and an ID is only a label; A-ABORT on "
        "one that was not negotiated",
    ),
    Row("7", "presentation context IDs that occur twice; no presentation contexts", "A-ABORT"),
    Row(
        "8",
        "a PDU of 1 MB where 16 KB were negotiated",
        "up to 128 KB taken, with one warning a sender: that much can be held for any peer; beyond, A-ABORT at the "
        "header",
    ),
    Row("9", "a command fragment inside a data set", "A-ABORT, no file"),
    Row("10", "a command where a data set is due", "A-ABORT, no file"),
    Row("11", "a data set on another presentation context than its command", "A-ABORT, no file"),
    Row(
        "12",
        "abort, end of connection or release amid a data set",
        "an earlier copy of the object is intact, no temporary file stays",
    ),
    Row(
        "13",
        "50 connections that send nothing, or a byte now and then",
        "each is closed after the ACSE timeout from its accept; a peer that associates is served meanwhile",
    ),
    Row("14", "silence amid a data set", "A-ABORT after the time-out for inactivity"),
    Row("15", "a second association while the first is busy", "served beside it"),
    Row("16", "release requests that cross", "states Sta9 to Sta12 of PS3.8 table 9-10"),
    # DIMSE
    Row(
        "51",
        "a command without Priority, with a Move Originator of another length, with elements of other groups",
        "the object is stored, with one warning a sender",
    ),
    Row("52", "white space of any kind after a UID", "stored, with a warning, without it with `-up`"),
    Row("53", "an A-RELEASE-RQ of another length than 4", "answered, with one warning a sender"),
    Row(
        "54",
        "an acceptance of a transfer syntax that was not proposed, on a context that is not used",
        "the retrieve goes on, with a warning",
    ),
    Row("17", "no message ID, no SOP instance UID, an unknown command", "A-ABORT"),
    Row("18", "a C-STORE request that announces no data set", "A-ABORT"),
    Row("19", "a command group length that lies", "tolerated, with a warning"),
    Row("20", "a C-STORE request on a context of Verification", "0122, no file"),
    Row("21", "a SOP class that is not that of the context", "0122, no file"),
    Row("22", "a UID of 65 or 1000 characters", "0117, no file; the association lives"),
    Row("23", "NUL, newline, ESC in a UID", "an escaping that keeps different UIDs different; nothing raw in a log"),
    Row("24", "a data set of another SOP instance than its request", "A900, nothing written"),
    # Data sets
    Row("25", "a length past the end of the data set", "C000, no file"),
    Row("26", "1000 and 100,000 sequences in each other", "refused beyond 64 with C000; no recursion"),
    Row("27", "a sequence that does not end", "C000, no file"),
    Row(
        "28",
        "a deflated data set of 300 KB that inflates to 300 MB",
        "memory stays bounded, and so does what a data set may inflate to",
    ),
    Row("29", "no pixels, unknown VRs, tags out of order", "stored, with a warning"),
    Row("30", "a value of odd length", "stored, with a warning"),
    Row("31", "an empty data set, or random bytes", "C000, no file"),
    Row("55", "bytes of padding after a complete data set", "stored without them, with a warning"),
    Row("56", "a delimiter after a sequence, an item or pixel data of defined length", "stored, with a warning"),
    Row("57", "compressed pixel data whose last delimiter is missing", "stored with it, with a warning"),
    Row("58", "implicit VR: a private element that is a sequence by the dictionary alone", "UN, with a warning"),
    Row(
        "59",
        "elements of group 0000 or 0002 in a data set",
        "stored without them, with a warning: readers would take them for the file meta information",
    ),
    Row("60", "any of these with `+B`", "every byte is kept, with the warning"),
    Row(
        "61",
        "a transfer syntax that no table has, a UID of more than 64 characters, with `+B --accept-nonstandard`",
        "stored, every byte of it",
    ),
    Row(
        "62",
        "an object that is refused",
        "the log says by whom, and names the option that stores it; `--retry` does not ask for it again",
    ),
    # File system
    Row("32", "a full disk, and a small object", "A700, no file"),
    Row("33", "an object that is there, sent again onto a full disk", "A700; the file is intact"),
    Row("34", "a read-only directory, no inodes, a directory of the file's name", "A700"),
    Row("35", "a symbolic link of the file's name", "the link is replaced, its target is intact"),
    Row("36", "the output directory removed meanwhile", "A700"),
    Row("37", "SIGKILL amid a write", "a temporary file at most, which the next run removes"),
    Row(
        "38",
        "the same object twice, with equal or different content",
        "a second copy is no error; of different ones the last stays, with a warning",
    ),
    # The peer
    Row("39", "an archive that does not answer", "the run ends after the time-out, with a code other than 0"),
    Row("40", "pending responses for ever", "the run ends when nothing arrives any more, with a code other than 0"),
    Row("41", "the final response before the objects are all there", "they are waited for"),
    Row("42", "a storage association after the final response", "accepted within the grace time"),
    Row(
        "43",
        "a storage client that never closes its association",
        "after the grace time it is aborted; the archive's association is released",
    ),
    Row(
        "44",
        "release, abort or reset of the archive's association amid a move",
        "a code other than 0; what is missing is named",
    ),
    Row(
        "45",
        "success with failed sub-operations, or with more completed than arrived",
        "reconciled with what is on disk; a code other than 0",
    ),
    Row("46", "a response without status, or to another message ID", "a code other than 0"),
    Row("47", "an A-ASSOCIATE-AC with a context that was not proposed", "A-ABORT at once, a code other than 0"),
    Row("48", "a host unknown, a connection refused, a port in use, no output directory", "DCMTK's exit codes"),
    Row("49", "a host that does not answer to SYN", "the run ends after a time-out that has a finite default"),
    Row("50", "an A-ASSOCIATE-AC of length FFFFFFFF", "A-ABORT at the header, exit code 61"),
    # Configurations that do not fit; the likely cause comes first
    Row("63", "an A-ABORT as the first answer to C-MOVE", "the advice of status A801; `--check` ends at once"),
    Row("64", "a transient rejection of the association", "the archive is said to be busy; `--retry` repeats it"),
    Row(
        "65",
        "a transfer syntax that is not accepted here",
        "the option that accepts it comes first, and nothing about the move destination",
    ),
    Row("66", "`--check` with keys", "one object is received and discarded; the failed step is named"),
    Row("67", "TLS or HTTP at our plain port", "refused with a warning that names it, once for each host"),
    Row(
        "68",
        "the port of a web server, or one that requires TLS, given as the archive's",
        "exit code 61, which names it",
    ),
    Row("69", "a retrieve without an object, and without a connection to our port", "the port is named"),
    Row("70", "an archive that serves one request an association", "the next request goes over a new association"),
    Row("71", "final responses before the objects, over a slow line", "all objects arrive, exit code 0"),
    # The disk, with --verify, --resume and --list
    Row("80", "an image that was cut before its pixel data", "stored; exit code 63, which names it; never left out"),
    Row("81", "a data set of another SOP instance than its request, with `+B`", "A900, nothing written"),
    Row(
        "82",
        "two different objects of one UID in one run, also in two SOP classes, studies or series",
        "exit code 63, which names the UID",
    ),
    Row(
        "110",
        "a file, or an object with `--verify`, that was cut between two fragments, or before its last elements",
        "requested again; exit code 63 if it arrives so, or if nothing else arrives",
    ),
    Row("111", "an object cut before its pixel data, for a file that is whole", "C000; the file is kept"),
    Row(
        "112",
        "with `--jobs`, an object for an entry that has ended, or for none",
        "exit code 63, and that entry is incomplete, if it replaces another one; a warning for objects of no entry",
    ),
    Row("113", "a file deleted or cut between two entries that rely on it", "requested again by the second"),
    Row(
        "114",
        "an object of the right UID in the data set of another study or series, sent or on the disk",
        "exit code 63 with `--verify`; requested again by `--resume`",
    ),
    Row("115", "objects to which a layout gives one name", "each has a file of its own"),
    Row("83", "a file that is deleted, changed or replaced once stored", "exit code 63, which names the object"),
    Row("84", "an output directory that is renamed or replaced meanwhile, in each mode", "exit code 63"),
    Row("85", "a file that is not the one that the index has noted", "examined; requested again unless it is whole"),
    Row("86", "an index that is damaged, truncated, foreign or of another version", "made again from the files"),
    # What stands still
    Row("90", "a log into a pipe that nobody reads", "signals and `--total-timeout` end the run within seconds"),
    Row("91", "a FIFO without another end as query file, list, log configuration or events", "the same"),
    Row("92", "a disk that stands still in the flush", "the same; every file is whole"),
    # Guests
    Row(
        "93",
        "as many associations as are allowed, which send nothing, from another host than the archive's",
        "the oldest makes room for the next; none that carried an object or comes from the archive's host",
    ),
    Row("94", "an object that no running request named, with `--only-requested`", "0124, no file; no failure"),
    Row("95", "more connections than descriptors", "the oldest is closed, and the port stays open"),
    Row("96", "association requests of 1 MB that are not whole, on many connections", "memory is bounded in sum"),
    Row("97", "P-DATA-TFs of empty fragments", "they cost no more memory than their bytes"),
    Row("98", "a module that cannot be loaded for want of descriptors or memory", "no thread ends"),
    # C-GET
    Row(
        "G1",
        "on the association of a C-GET: fragments, commands and responses that are not due, or without end",
        "A-ABORT, exit code 62; what was stored stays",
    ),
    Row(
        "G2",
        "an archive that is silent amid an object of a C-GET",
        "exit code 62 after the shortest limit; no part of it",
    ),
    Row(
        "G3",
        "objects of a C-GET that are not what their requests say, or that arrive twice",
        "refused by a status, never outside the output directory; none is counted in place of another",
    ),
    Row(
        "G4",
        "an archive that rejects, refuses or cuts off C-GET",
        "with `--retrieve auto` and a port, C-MOVE, which log, events and report name; else the exit code of C-MOVE",
    ),
)
"""Hostile or faulty situations."""

COHORT: Final = (
    Row(
        "list-refused",
        "the archive serves fewer requests at once than it is sent: A701, A702, a transient rejection, silence",
        "sent again later, not counted against the entry; the limit is learned; every entry complete",
    ),
    Row(
        "list-refused-alone",
        "an entry is refused while no other request is under way",
        "sent again after a pause that doubles, to 60 s; after three repetitions the entry has failed",
    ),
    Row(
        "list-away",
        "the archive goes away during the first, a middle or the last entry, and comes back",
        "no entry fails; one C-ECHO at a time, after 5 to 60 s, finds out when it is back; exit code 0",
    ),
    Row(
        "list-away-too-long",
        "the archive stays away for longer than `--wait-for-archive`",
        "exit code 61; every entry has its state; `--resume` continues",
    ),
    Row("list-never-there", "the archive never accepts an association", "exit code 61 at once"),
    Row(
        "list-rejected",
        "the archive rejects the association permanently: it does not know our AE title, or has another one itself",
        "the run stops; exit code 61; the log names the title to register",
    ),
    Row(
        "list-unknown",
        "the archive does not know the move destination: A801",
        "the run stops after three entries; exit code 69; the log has title, address and port to register",
    ),
    Row(
        "list-unreached",
        "the archive cannot connect to our port: A702 with failures and no connection",
        "the run stops after three entries; exit code 69; the log has address and port",
    ),
    Row(
        "list-ended-each",
        "the archive answers C-ECHO and ends each request",
        "the run stops after four absences, each of which C-ECHO ended",
    ),
    Row(
        "list-idle",
        "the archive ends associations between two entries",
        "detected before the next entry uses one; it gets a new association, without an extra attempt",
    ),
    Row(
        "list-incomplete",
        "objects of an entry fail or do not arrive",
        "the others continue; the entry is partial or failed, its missing objects are named; exit code 63 or 69",
    ),
    Row(
        "list-part",
        "objects of a study that is requested series by series (`--split`) fail or do not arrive",
        "requested once more with the study; complete only if the files match the last list",
    ),
    Row(
        "list-full",
        "the disk of the output directory is full, or a quota is used up",
        "the run stops; running requests end, and their entries go back: those with objects on the disk are partial, "
        "the others not started, and none has failed; exit code 63, or 72 if the journal cannot be written either; "
        "`--resume` continues once there is space",
    ),
    Row(
        "list-flush",
        "stored objects cannot be flushed to the disk (an input/output error)",
        "the run stops; entries that had ended stay complete, those under way have failed; exit code 63; their files "
        "are not believed later: `--resume` requests the objects again, and `--check-files` names them",
    ),
    Row("list-disk", "a file cannot be written for another cause", "the archive is not blamed; exit code 63 or 68"),
    Row(
        "list-killed",
        "the run is killed (SIGKILL) at any moment",
        "with `--resume`, the files are those of one clean run; complete entries are not requested again",
    ),
    Row(
        "list-stopped",
        "Ctrl-C, also during the wait for an absent archive",
        "running requests are cancelled; every entry has its state; exit code 130",
    ),
    Row("list-worker", "a worker ends unexpectedly during its job", "another worker carries out the job, once"),
    Row(
        "cluster-worker",
        "a worker process of `--cluster` is killed, stops, or its machine is away",
        "its entries are requested again, by others; its title is not used again for 30 s",
    ),
    Row(
        "cluster-space",
        "the disk of a worker of `--cluster` is full",
        "its entries are requested again by others, and it is not used any more; if all workers are full, the run "
        "stops as without `--cluster`: exit code 63, and no entry has failed",
    ),
    Row(
        "cluster-unreached",
        "the archive does not know the title of one worker of `--cluster`, or cannot connect to it",
        "a message names the worker, its address and what to check; it is not used any more, and its entries are "
        "requested again by others; if none is left, the run stops as without `--cluster`",
    ),
    Row(
        "cluster-own",
        "a worker of `--cluster` with its own directory (`--worker-files own`) is lost, or has objects twice",
        "`--resume` sends an entry to the worker that has its files; `--collect` checks each digest, brings every file "
        "of a finished request here, and may be interrupted at any moment",
    ),
    Row(
        "cluster-entry",
        "three workers end unexpectedly, one after the other, while they request the same entry",
        "the entry has failed; the others continue",
    ),
    Row(
        "cluster-scheduler",
        "the scheduler of `--cluster` is killed or does not answer, or there is no worker any more",
        "exit code 75, after 20 s of silence or 60 s without a worker; `--resume` continues",
    ),
    Row(
        "cluster-version",
        "a worker of another version of movescu, or without a title in `--ae-pool`",
        "refused; a message names it",
    ),
    Row(
        "list-database",
        "the database of the journal (`--journal postgresql://...`) is away, at the start or for more than 30 s",
        "exit code 72; what was under way ends; `--resume` continues",
    ),
    Row(
        "list-database-away",
        "the database of the journal is away for less than 30 s: it is started again, killed or stopped",
        "the run waits, while running requests go on; nothing is requested twice",
    ),
    Row(
        "list-journal",
        "the journal is damaged, removed during the run, locked, of a newer version, of another output directory, or "
        "on a network file system",
        "exit code 72; with `--resume` a damaged or lost one is rebuilt, and the disk decides what is complete",
    ),
)
"""What may go wrong with a list, in ``docs/cohort.md``."""

ROWS: Final = PUBLISHED + SITUATIONS + COHORT

"""Retrieve a cohort into folders. Each row of a CSV file is a patient, study or series; the columns are keywords.

    python examples/cohort.py cohort.csv images ARCHIVE archive.example.org 104 --own-title ME --port 11112

Run it again to continue: objects that are complete in the folders are not requested again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import movescu

LAYOUT = "{PatientID}/{StudyDate|undated}_{StudyInstanceUID}/{SeriesNumber:04}/{SOPInstanceUID}.dcm"


def main() -> int:
    """Retrieve the cohort. Return the exit code: 1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("title")
    parser.add_argument("host")
    parser.add_argument("archive_port", type=int)
    parser.add_argument("--own-title", default="MOVESCU")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    with given.cohort.open(newline="", encoding="utf-8-sig") as file:  # Excel's CSV UTF-8 has a byte order mark
        heading = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=";" if ";" in heading else ","))
    incomplete = 0
    with movescu.Client(
        movescu.AE(given.host, given.archive_port, given.title),
        ae_title=given.own_title,
        listen=given.port,
        to=movescu.Directory(given.directory, layout=LAYOUT),
        retry=movescu.Retry(verify=True, retries=3, resume=True),
    ) as client:
        for row, result in zip(rows, client.retrieve_many(rows, jobs=2), strict=True):
            if isinstance(result, Exception):
                print(*row.values(), "failed:", result)
                incomplete += 1
                continue
            print(*row.values(), result.outcome, f"{result.stored} stored, {result.already_there} already there")
            incomplete += not result.complete
    return 1 if incomplete else 0


if __name__ == "__main__":
    raise SystemExit(main())

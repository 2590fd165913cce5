"""Retrieve a series into a NumPy array, without writing files.

python examples/arrays.py 1.2.3 1.2.3.1 ARCHIVE archive.example.org 104 --own-title ME --port 11112
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

import movescu

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset


def volume(client: movescu.Client, keys: movescu.Keys) -> NDArray[Any]:
    """Retrieve a series and return its images, ordered by Instance Number, as one array.

    Raise ``movescu.errors.IncompleteError`` if an image is missing.
    """
    slices: dict[int, NDArray[Any]] = {}

    def take(image: Dataset) -> None:
        slices[int(image.InstanceNumber)] = image.pixel_array

    client.retrieve(keys, take).raise_for_incomplete()
    return np.stack([slices[number] for number in sorted(slices)])


def main() -> None:
    """Print shape and range of a series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("study", "series", "title", "host"):
        parser.add_argument(name)
    parser.add_argument("archive_port", type=int)
    parser.add_argument("--own-title", default="MOVESCU")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    archive = movescu.AE(given.host, given.archive_port, given.title)
    retry = movescu.Retry(verify=True, retries=3)
    with movescu.Client(archive, ae_title=given.own_title, listen=given.port, retry=retry) as client:
        array = volume(client, {"StudyInstanceUID": given.study, "SeriesInstanceUID": given.series})
    print(f"{array.shape} {array.dtype}, from {array.min()} to {array.max()}")


if __name__ == "__main__":
    main()

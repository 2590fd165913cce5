"""A process that makes thumbnails of DICOM files, in which a decoder may crash, run out of memory or never end.

It reads paths as lines of JSON and answers each with one: ``image``, ``width`` and ``height``, or ``why`` there is no
picture. It limits its memory and writes no file. Started by ``thumbnails`` alone, it imports nothing of ours.

A frame goes through the grayscale pipeline of PS3.4 N.2: modality LUT, VOI LUT or window, and inversion for
MONOCHROME1. Enhanced objects have these values in their functional groups (PS3.3 C.7.6.16). PALETTE COLOR is looked up,
YBR is converted (PS3.3 C.7.6.3.1.2).
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from pydicom import Dataset

SIDE: Final = 128
"""Longer side of a thumbnail, in pixels."""
_LARGEST: Final = 1 << 28
"""Largest frame that is decoded, in bytes."""
_STRIDE_ABOVE: Final = 2048
"""Rows or columns; of larger frames every second, third, ... pixel is used."""
_FUNCTIONS: Final = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


class _NoPictureError(Exception):
    """No picture can be made; the text is the reason."""


def thumbnail(path: str) -> dict[str, Any]:
    """Return the picture of a file, or why there is none."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame, dataset = _middle_frame(dcmread(path, force=True, defer_size=1 << 16), path)
            return _encoded(_rendered(frame, dataset))
        except _NoPictureError as error:
            return {"why": str(error)}
        except MemoryError:
            return {"why": "too large to decode"}
        except Exception as error:  # noqa: BLE001 - decoders raise anything
            return {"why": f"cannot be decoded ({type(error).__name__})"}


def _middle_frame(dataset: Dataset, path: str) -> tuple[np.ndarray, Dataset]:
    from pydicom.pixels import pixel_array

    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise _NoPictureError("no image")
    size = (dataset.get("BitsAllocated") or 8) * (dataset.get("SamplesPerPixel") or 1) // 8
    if (dataset.get("Rows") or 0) * (dataset.get("Columns") or 0) * max(size, 1) > _LARGEST:
        raise _NoPictureError("too large to decode")
    index = max(int(dataset.get("NumberOfFrames") or 1) - 1, 0) // 2
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    source = path if syntax and not syntax.is_deflated else _with_syntax(dataset)
    try:
        return pixel_array(source, index=index), _of_frame(dataset, index)
    except (RuntimeError, NotImplementedError) as error:
        known = syntax.name if syntax else "its transfer syntax"
        words = "cannot be decoded" if "exceptions were raised" in str(error) else "no decoder is installed for"
        raise _NoPictureError(f"{words}: {known}") from error


def _with_syntax(dataset: Dataset) -> Dataset:
    """Return a data set with the transfer syntax in which it was read: it has none, or was inflated."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit = dataset.original_encoding[0]
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset["PixelData"]
    return dataset


def _of_frame(dataset: Dataset, index: int) -> Dataset:
    """Return the data set with the values that the functional groups have for a frame."""
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += (dataset.get("PerFrameFunctionalGroupsSequence") or [])[index : index + 1]
    for group in groups:
        for name in _FUNCTIONS:
            for item in (group.get(name) or [])[:1]:
                for element in item:
                    dataset[element.tag] = element
    return dataset


def _rendered(frame: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return a frame as 8 bit, gray or RGB."""
    import numpy as np
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    stride = -(-max(frame.shape[:2]) // _STRIDE_ABOVE)
    frame = frame[::stride, ::stride]
    interpretation = dataset.get("PhotometricInterpretation", "")
    if interpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
        depth = 16 if frame.dtype.itemsize > 1 else 8
        return np.asarray(frame >> (depth - 8), np.uint8)
    if frame.ndim == 3:
        shift = max(int(dataset.get("BitsStored") or 8) - 8, 0)
        return np.asarray(frame >> shift, np.uint8)
    padding = dataset.get("PixelPaddingValue")
    padded = None if padding is None else frame == padding
    values = apply_modality_lut(frame, dataset)
    windowed = apply_voi_lut(values, dataset, index=0)
    if windowed is values or not ("WindowWidth" in dataset or "VOILUTSequence" in dataset):
        low, high = _bounds(values, padded)
    elif dataset.get("VOILUTSequence"):
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        low, high = 0.0, float(2**bits - 1)
    else:
        low, high = _range_of_window(dataset)
    scaled = np.clip((windowed.astype(np.float64) - low) / max(high - low, 1e-9), 0.0, 1.0)
    if interpretation == "MONOCHROME1":
        scaled = 1.0 - scaled
    return np.asarray(scaled * 255.0 + 0.5, np.uint8)


def _bounds(values: np.ndarray, padded: np.ndarray | None) -> tuple[float, float]:
    """Return the values between which almost all pixels lie that are no padding."""
    import numpy as np

    inside = values if padded is None or bool(padded.all()) else values[~padded]
    inside = inside[np.isfinite(inside)]
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, (0.5, 99.5))
    if low == high:
        low, high = inside.min(), inside.max()
    return float(low), float(high)


def _range_of_window(dataset: Dataset) -> tuple[float, float]:
    """Return what ``apply_voi_lut`` makes of the ends of a window: the range of the modality LUT's values."""
    stored, signed = int(dataset.BitsStored), bool(dataset.get("PixelRepresentation"))
    low, high = (-(2.0 ** (stored - 1)), 2.0 ** (stored - 1) - 1) if signed else (0.0, 2.0**stored - 1)
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is not None and intercept is not None:
        ends = low * float(slope) + float(intercept), high * float(slope) + float(intercept)
        return min(ends), max(ends)
    return low, high


def _encoded(pixels: np.ndarray) -> dict[str, Any]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, subsampling=0)
    text = base64.b64encode(file.getvalue()).decode()
    return {"image": f"data:image/jpeg;base64,{text}", "width": image.width, "height": image.height}


def _limit(memory: int) -> None:
    """Limit this process, its address space in bytes; a limit that the system does not know is left out."""
    try:
        import resource
    except ImportError:  # Windows
        return
    os.nice(10)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def serve(paths: BinaryIO, answers: BinaryIO, make: Callable[[str], dict[str, Any]] = thumbnail) -> None:
    """Answer each path."""
    for line in paths:
        answers.write(json.dumps(make(json.loads(line))).encode() + b"\n")
        answers.flush()


def main() -> None:
    """Serve standard input; what decoders print goes nowhere. The argument is the limit on memory, in bytes."""
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    _limit(int(sys.argv[1]))
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

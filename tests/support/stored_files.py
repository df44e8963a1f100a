"""Safetensors files for tests, good ones and malformed ones."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.loading.stored import SafetensorsFile
from tests.support.checkpoints import pack, serialize

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
_RNG = np.random.default_rng(3)
MIXED: dict[str, npt.NDArray[Any]] = {
    "bytes": np.arange(5, dtype=np.uint8),  # what follows is not aligned
    "wide": _RNG.normal(size=(3, 5)),
    "single": _RNG.normal(size=(7, 2)).astype(np.float32),
    "half": _RNG.normal(size=9).astype(np.float16),
    "ids": np.arange(4).reshape(1, 4),
    "scalar": np.array(2.5, np.float32),
    "none": np.empty((0, 3), np.float32),
}
FLAWLESS = serialize(MIXED)
WEIGHTS = np.random.default_rng(5).normal(size=(11, 7)).astype(np.float32)


def opened(folder: Path, data: bytes) -> SafetensorsFile:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return SafetensorsFile(path)


def holding(
    folder: Path, array: npt.NDArray[Any], code: str | None = None, *, before: int = 0
) -> SafetensorsFile:
    """Return a file that holds `array` as "w", behind that many bytes of another tensor."""
    tensors = {"b": np.zeros(before, np.uint8), "w": array}
    return opened(folder, serialize(tensors, codes={"w": code} if code else {}))


def headed(header: object, body: bytes = bytes(4)) -> bytes:
    """Return a file with that header: bytes as they are, all else as JSON."""
    return pack(header if isinstance(header, bytes) else json.dumps(header).encode(), body)


def one(**changes: object) -> bytes:
    """Return a file of one tensor, `a`, of which some members are changed."""
    return headed({"a": FOUR | changes})


def two(offsets: list[int]) -> bytes:
    """Return a file of two tensors, the second where it is told."""
    return headed({"a": FOUR, "b": FOUR | {"data_offsets": offsets}}, bytes(8))


def noted(metadata: object) -> bytes:
    """Return a file with one tensor and that metadata."""
    return headed({"__metadata__": metadata, "a": FOUR})


def text(header: str) -> bytes:
    """Return a file with that header, in which T stands for a good tensor."""
    return headed(header.replace("T", json.dumps(FOUR)).encode())


def zipped() -> bytes:
    """Return a zip archive, as torch.save makes one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 400)
    return buffer.getvalue()

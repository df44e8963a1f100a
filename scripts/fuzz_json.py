"""The target of fuzz.py that every settings file goes through: strict JSON against Python's own."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz_target import Difference, Target, refused

from numpy_bert.errors import ConfigError
from numpy_bert.files import read_json

__all__ = ["TARGETS", "edited"]

GOOD = json.dumps(
    {
        "model_type": "bert",
        "hidden_size": 24,
        "layer_norm_eps": 1e-12,
        "tie": True,
        "id2label": {"0": "no", "1": "é \u2028"},
        "architectures": ["BertModel", None],
        "deep": [[{"a": [1, -2.5e3]}]],
    },
    indent=1,
).encode()
PIECES: Sequence[bytes] = (
    *(bytes([byte]) for byte in b'"{}[],: 09-.e\\\n\0\xff'),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0", b'"hidden_size": 1,', b"{}", b"[]"),
    *(b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"\xff\xfe", b"9" * 5000, b"[" * 3000, b" " * 9),
)


def edited(
    data: bytes, rng: random.Random, pieces: Sequence[bytes] = PIECES, most: int = 3
) -> bytes:
    """Return bytes with some of them cut out, written over, doubled, or pieces put between."""
    for _ in range(rng.randint(1, most)):
        place, length = rng.randint(0, len(data)), rng.choice((0, 0, 1, 2, 9, 40))
        old = data[place : place + length]
        new = rng.choice((rng.choice(pieces), rng.choice(pieces), old * 2, b"", rng.randbytes(2)))
        data = data[:place] + new + data[place + length :]
    return data


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether two values are the same, in type, too."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float):
        return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)
    return bool(ours == theirs)


def attempt(path: Path, rng: random.Random) -> bool:
    """Read a good file with some edits."""
    data, found = edited(GOOD, rng), list[Any]()
    path.write_bytes(data)
    if refused(lambda: found.append(read_json(path, error=ConfigError)), naming=str(path)):
        return False
    if not same(found[0], json.loads(data)):
        raise Difference(f"{data!r} is taken for {found[0]!r}")
    return True


TARGETS = [
    Target("json", "Python's json", lambda folder: folder / "config.json", attempt),
]

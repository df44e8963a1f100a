"""Targets of fuzz.py: safetensors files, the index of shards, and the names of tensors.

Every file either holds the tensors that the library, or the index's own text, finds in it, or is
refused.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_json import PIECES, edited
from fuzz_target import Difference, Target, refused
from json_edits import ODD, changed
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from numpy_bert import AutoModel, BertConfig
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import config_class
from numpy_bert.loading.checkpoint import INDEX, SINGLE, Checkpoint, open_checkpoint
from numpy_bert.loading.header import DTYPES
from numpy_bert.loading.keys import stored
from numpy_bert.loading.stored import SafetensorsFile
from numpy_bert.parameters import BertParameters, shapes

__all__ = ["TARGETS"]

GOOD = save(
    {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.arange(3, dtype=np.uint8),
        "c": np.array(1.5, np.float64),
        "d": np.arange(4, dtype=np.float16),
        "e": np.empty((0, 2), np.int64),
    },
    {"format": "pt"},
)
HEADER_PIECES = (
    *PIECES,
    *(b'"a"', b'"F16"', b'"BF16"', b'"I8"', b'"dtype"', b'"__metadata__":{},', b"[" * 300),
    b"18446744073709551615",
)
HEADER_ODD = (*ODD, "F32", "BF16", "BOOL", "F8_E4M3", "f32", [0, 4], [4, 0], [2, 3])
HEADER_NAMES = ("a", "b", "f", "", "__metadata__", "dtype", "shape", "data_offsets", "\x1b[31m")
CODES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the header and the body of a good file."""
    (length,) = struct.unpack("<Q", data[:8])
    return data[8 : 8 + length], data[8 + length :]


def pack(header: bytes, body: bytes) -> bytes:
    """Put a header's length before it and the data behind it."""
    return struct.pack("<Q", len(header)) + header + body


def good_file(rng: random.Random) -> bytes:
    """Return a file that must be taken: any names, shapes, dtypes, metadata and order."""
    header, body = dict[str, Any](), b""
    for number in range(rng.randint(0, 5)):
        name = rng.choice(("a", "", "\0", "\x1b[2J", "\u202e\u00e9", "n" * 300)) + str(number)
        code = rng.choice(list(CODES))
        shape = [rng.randint(0, 4) for _ in range(rng.randint(0, 4))]
        data = rng.randbytes(int(np.prod(shape, dtype=int)) * CODES[code])
        if code == "BOOL":
            data = bytes(byte & 1 for byte in data)
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": code, "shape": shape, "data_offsets": offsets}
        body += data
    if rng.random() < 0.5:
        header["__metadata__"] = {"format": rng.choice(("pt", "", "\0"))}
    members = list(header.items())
    rng.shuffle(members)
    return pack(json.dumps(dict(members)).encode() + b" " * rng.randint(0, 9), body)


def edited_file(rng: random.Random) -> bytes:
    """Return a good file with some bytes written over, cut out, or put in."""
    return edited(GOOD, rng, HEADER_PIECES)


def edited_header(rng: random.Random) -> bytes:
    """Return a good file with some edits in its header, whose length is right."""
    header, body = parts(GOOD)
    return pack(edited(header, rng, HEADER_PIECES, most=4), body)


def changed_header(rng: random.Random) -> bytes:
    """Return a good file with members of its header changed, and sometimes more data or less."""
    header, body = parts(GOOD)
    body = rng.choice((body, body, body, body[:-1], body + b"\0", body + body))
    return pack(changed(header.decode(), rng, HEADER_ODD, HEADER_NAMES), body)


def any_bytes(rng: random.Random) -> bytes:
    """Return a small file, or a small header, of any bytes."""
    data = rng.randbytes(rng.randint(0, 40))
    return rng.choice((data, pack(data, b""), pack(b"{" + data, rng.randbytes(3))))


FILES: Mapping[Callable[[random.Random], bytes], int] = {
    good_file: 3,
    edited_file: 2,
    edited_header: 3,
    changed_header: 4,
    any_bytes: 1,
}


def library(data: bytes) -> dict[str, Any] | None:
    """Return what the library finds in a file, None where it refuses it."""
    try:
        return dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError:
        return None


def compare(file: SafetensorsFile, expected: Mapping[str, Any]) -> None:
    """Raise Difference unless a file holds these tensors, mapped and copied."""
    if file.tensors.keys() != expected.keys():
        raise Difference(f"tensors {list(file.tensors)}; the library finds {list(expected)}")
    for name, tensor in file.tensors.items():
        info = expected[name]
        if (tensor.dtype, list(tensor.shape)) != (info["dtype"], info["shape"]):
            raise Difference(f"{name!r} is {tensor.dtype} {tensor.shape}; the library finds {info}")
        for mapped in (True, False):
            data = file.data(tensor, mapped=mapped)
            if data.tobytes() != bytes(info["data"]):
                raise Difference(f"{name!r} has other bytes")
            if tensor.dtype in DTYPES:
                if tensor.read(mapped=mapped).shape != tensor.shape:
                    raise Difference(f"{name!r} has another shape")
            elif not refused(partial(tensor.read, mapped=mapped), naming="not supported"):
                raise Difference(f"{name!r} of dtype {tensor.dtype} was read")


def stored_file(path: Path, rng: random.Random) -> bool:
    """Open one file, and compare it with what the library makes of it."""
    (make,) = rng.choices(list(FILES), list(FILES.values()))
    data, found = make(rng), list[SafetensorsFile]()
    path.unlink(missing_ok=True)  # the tensors of another may be mapped still
    path.write_bytes(data)
    if refused(lambda: found.append(SafetensorsFile(path)), naming=f"{path}: "):
        if make is good_file:
            raise Difference(f"a good file was refused: {data!r}")
        return False
    expected = library(data)
    if expected is None:
        raise Difference(f"the library refuses what was taken: {data!r}")
    compare(found[0], expected)
    return True


# Three shards that agree in what two of them hold.
SHARED = np.arange(6, dtype=np.float32)
SHARDS: Mapping[str, Mapping[str, Any]] = {
    "model-00001-of-00003.safetensors": {"bert.embeddings.word_embeddings.weight": SHARED},
    "model-00002-of-00003.safetensors": {
        "bert.embeddings.LayerNorm.gamma": SHARED[:3],
        "bert.embeddings.LayerNorm.beta": SHARED[3:],
        "bert.pooler.dense.bias": SHARED,
    },
    "model-00003-of-00003.safetensors": {
        "bert.pooler.dense.bias": SHARED,
        "bert.pooler.dense.weight": SHARED.reshape(2, 3),
    },
    # Which no index lists unless it is changed: other values of one of those names, and new names.
    "other.safetensors": {"bert.pooler.dense.weight": -SHARED.reshape(2, 3)},
    "more.safetensors": {"x": SHARED, "bert.pooler.dense.weight": SHARED.reshape(2, 3)},
}
MAP = {key: name for name, tensors in list(SHARDS.items())[:3] for key in tensors}
GOOD_INDEX = json.dumps({"metadata": {"total_size": 96}, "weight_map": MAP})
INDEX_ODD = (*ODD, *SHARDS, *SHARDS, "gone.safetensors", "../a.safetensors", "a/b.safetensors")
INDEX_NAMES = ("weight_map", "metadata", "x", "", "bert.pooler.dense.bias", "\x1b[31m", *MAP)
# What the names above are under.
CANONICAL = {
    "bert.embeddings.LayerNorm.gamma": "embeddings.LayerNorm.weight",
    "bert.embeddings.LayerNorm.beta": "embeddings.LayerNorm.bias",
}


def prepare_index(folder: Path) -> Path:
    """Write the shards, and a file that no index may lead to."""
    inner = folder / "model"
    inner.mkdir()
    for name, tensors in SHARDS.items():
        (inner / name).write_bytes(save(dict(tensors)))
    (folder / "a.safetensors").write_bytes(save({"x": SHARED}))
    return inner


def listed(index: Any) -> dict[str, Any]:
    """Return the tensors of all shards that an index lists, by canonical name.

    Raises
    ------
    Difference
        If the index says what is not so, and therefore had to be refused.
    """
    weight_map, found = index["weight_map"], dict[str, Any]()
    if not weight_map or not set(weight_map.values()) <= SHARDS.keys():
        raise Difference(f"an index with the weight_map {weight_map!r} was taken")
    for key, name in weight_map.items():
        if key not in SHARDS[name]:
            raise Difference(f"{key!r} is not in {name}, which the index was believed")
    for name in sorted(set(weight_map.values())):
        for key, array in SHARDS[name].items():
            own = CANONICAL.get(key, key.removeprefix("bert."))
            if own in found and found[own].tobytes() != array.tobytes():
                raise Difference(f"two shards have {key} with different values")
            found[own] = array
    return found


def shards(folder: Path, rng: random.Random) -> bool:
    """Open shards by one index, and compare the tensors with those that they must be."""
    change: Sequence[Callable[[], bytes]] = (
        lambda: edited(GOOD_INDEX.encode(), rng),
        lambda: changed(GOOD_INDEX, rng, INDEX_ODD, INDEX_NAMES),
    )
    data, found = rng.choices(change, (1, 4))[0](), list[Checkpoint]()
    (folder / INDEX).write_bytes(data)
    naming = f"{folder}/"
    if refused(lambda: found.append(open_checkpoint(folder)), naming=naming):
        return False
    expected = listed(json.loads(data))
    tensors = found[0].tensors
    if tensors.keys() != expected.keys():
        raise Difference(f"tensors {list(tensors)}; the shards hold {list(expected)}: {data!r}")
    for key, tensor in tensors.items():
        if tensor.read(mapped=False).tobytes() != expected[key].tobytes():
            raise Difference(f"{key} has other values: {data!r}")
    return True


# A tiny model, which is loaded whole.
NAMED: Mapping[str, int] = {
    "vocab_size": 11,
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 5,
    "max_position_embeddings": 7,
    "type_vocab_size": 2,
    "embedding_size": 3,
    "projection_dim": 3,
    "use_task_id": True,
}
# What a program leaves before all names whose own module holds the model.
OUTER = ("", "", "", "module.", "model.", "0.auto_model.", "module.model.")
# What stands before one name, or behind it, where that is not its own.
ODD_NAMES = ("x.", "bert.", "roberta.", "module.", "encoder.", "question_encoder.", "\x1b[31m.")


class Named(NamedTuple):
    """A tensor of a file: its name, the parameter it is, and whether the name says so."""

    name: str
    key: str
    array: Any
    is_plain: bool = True


def tree(kind: str) -> tuple[BertConfig, Mapping[str, Any]]:
    """Return an architecture's tiny config, and random parameters by their keys here."""
    known = config_class(kind)().field_names
    config = config_class(kind)(**{name: NAMED[name] for name in NAMED if name in known})
    table = shapes(BertParameters, config)
    draw = np.random.default_rng(3)
    return config, {key: draw.standard_normal(shape, np.float32) for key, shape in table.items()}


def prepare_names(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Make parameters of each architecture."""
    return folder, {kind: tree(kind) for kind in ARCHITECTURES}


def good_names(kind: str, tensors: Mapping[str, Any], rng: random.Random) -> list[Named]:
    """Return tensors under names that published checkpoints of an architecture have."""
    entry, outer = ARCHITECTURES[kind], rng.choice(OUTER)
    prefix = rng.choice((entry.prefix, *entry.encoders.values()))
    has_prefix = bool(entry.encoders) or rng.random() < 0.5
    is_old = rng.random() < 0.3
    found = list[Named]()
    for key, array in tensors.items():
        name = stored(f"bert.{key}", entry, prefix)
        if not has_prefix:
            name = name.removeprefix(prefix)
        if is_old:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            name = name.replace("LayerNorm.bias", "LayerNorm.beta")
        found.append(Named(outer + name, key, array))
    return found


def odd_names(tensors: list[Named], others: list[Named], rng: random.Random) -> list[Named]:
    """Change a few of the names: one is lost, or wrong, or stands twice, or is another model's."""
    found = list(tensors)
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(found))
        one = found[place]
        parts = one.name.split(".")
        part = rng.randrange(len(parts))
        wrong = rng.choice(
            (
                rng.choice(ODD_NAMES) + one.name,
                one.name + "x",
                ".".join([*parts[:part], *parts[part + 1 :]]) or "x",
                ".".join([*parts[:part], rng.choice(parts), *parts[part:]]),
                one.key,
            )
        )
        changed_one = one._replace(name=wrong, is_plain=False)
        way = rng.choice(("lose", "rename", "again", "double", "other", "shape"))
        if way == "lose":
            del found[place]
        elif way == "rename":
            found[place] = changed_one
        elif way == "again":
            found.append(changed_one)
        elif way == "double":
            found.append(changed_one._replace(array=one.array + 1))
        elif way == "shape":
            found[place] = one._replace(array=one.array[:-1].copy(), is_plain=False)
        else:
            found += rng.sample(others, rng.choice((1, len(others))))
    return found


def named_tensors(state: tuple[Path, Mapping[str, Any]], rng: random.Random) -> bool:
    """Load a model by the names of its tensors, and compare each parameter with what it must be."""
    folder, trees = state
    kind, other = rng.choice(list(ARCHITECTURES)), rng.choice(list(ARCHITECTURES))
    (config, tensors), (_, foreign) = trees[kind], trees[other]
    is_good = rng.random() < 0.3
    stated = good_names(kind, tensors, rng)
    if not is_good:
        minus = {key: -array for key, array in foreign.items()}
        others = [one._replace(is_plain=False) for one in good_names(other, minus, rng)]
        stated = odd_names(stated, others, rng)
    (folder / "config.json").write_text(config.to_json_string())
    path = folder / SINGLE
    path.unlink(missing_ok=True)  # the tensors of another may be mapped still
    path.write_bytes(save({one.name: one.array for one in reversed(stated)}))
    loaded = list[Any]()
    load = lambda: loaded.append(AutoModel.from_pretrained(folder, mmap=False))  # noqa: E731
    if refused(load, naming=f"{folder}", longest=5000):  # it lists names of three kinds
        if is_good:
            raise Difference(f"{kind}: good names were refused: {[one.name for one in stated]}")
        return False
    found = dict(loaded[0].named_parameters())
    if all(np.array_equal(-foreign.get(key, array), array) for key, array in found.items()):
        return True  # the whole of another model, under the usual names, beside this under others
    last = {one.name: one for one in reversed(stated)}  # of one name the first is in the file
    for key, array in found.items():
        own = [one for one in last.values() if one.key == key]
        plain = [one for one in own if one.is_plain] or own
        if not any(np.array_equal(one.array, array) for one in plain):
            names = [one.name for one in own]
            raise Difference(f"{kind}: {key} has the values of none of {names}")
    return True


TARGETS = [
    Target("names", "the tensors by their keys", prepare_names, named_tensors, cost=2),
    Target("safetensors", "safetensors", lambda folder: folder / "model.safetensors", stored_file),
    Target("index", "the shards' own bytes", prepare_index, shards),
]

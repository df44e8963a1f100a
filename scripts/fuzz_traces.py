"""Targets of fuzz.py: traces in three formats, name maps, the reports and pages of odd names."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from fuzz_json import edited
from fuzz_target import Difference, Target, refused
from safetensors.numpy import load as load_safetensors

from numpy_bert import BertModel, BertTokenizer, explain
from numpy_bert.comparison.compare import compare
from numpy_bert.comparison.report import as_html, as_text
from numpy_bert.comparison.tolerances import CHECKS, Tolerances
from numpy_bert.loading.header import Entry, make_header
from numpy_bert.messages import quoted
from numpy_bert.traces.names import Named, NameMap, read_map
from numpy_bert.traces.reading import Trace, as_trace, open_trace
from numpy_bert.traces.writing import CHECKSUM, CONTRACT, checksum_of

__all__ = ["TARGETS"]

Array = npt.NDArray[Any]
NAMES = ("embeddings", "encoder.layer.0", "bert.pooler", "hidden_states", "input_ids", "x y", "é")
DTYPES = ("f4", "<f8", ">f4", "f2", "i8", "i4", "u1", "?", ">i2", "u8")


def drawn(rng: random.Random) -> Array:
    """Return a small array of any dtype and shape."""
    shape = tuple(rng.choice((1, 1, 2, 3) * 5 + (0,)) for _ in range(rng.randint(0, 3)))
    array = np.frombuffer(rng.randbytes(8 * 27), np.uint8)[: 8 * int(np.prod(shape))]
    with np.errstate(all="ignore"):
        found = array.view("<i8").reshape(shape).astype(rng.choice(DTYPES))
    return np.asfortranarray(found) if rng.random() < 0.2 else found


def arrays_of(trace: Trace) -> dict[str, Array]:
    """Read every array of a trace under the name that its file gives it."""
    whole = [array.stored for array in (*trace.arrays.values(), *trace.twins)]
    found = {stored.name: stored.load() for stored in (*whole, *trace.stacks.values())}
    for stored in whole:
        if (found[stored.name].shape, found[stored.name].size) != (stored.shape, stored.size):
            raise Difference(f"{stored.name!r} was to have shape {stored.shape}")
    return found


def read(path: Path) -> dict[str, Array] | None:
    """Return the arrays of a trace, None if it is refused as it should be."""
    found = list[dict[str, Array]]()
    no = refused(lambda: found.append(arrays_of(open_trace(path))), naming=str(path))
    return None if no else found[0]


def check_same(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
    """Raise Difference unless two readers give the same arrays."""
    members = {re.sub(r"\[\d+\]$", "", name) for name in ours}
    if members != set(theirs):
        raise Difference(f"the names are {sorted(ours)}; the other reader has {sorted(theirs)}")
    for name, other in theirs.items():
        array = ours.get(name)
        if array is None:
            continue
        bits = other.view("<u2").astype("<u4") << 16 if other.dtype.kind == "V" else other
        wanted = (
            bits.view("f4") if bits is not other else other.astype(other.dtype.newbyteorder("="))
        )
        if (array.dtype, array.shape) != (wanted.dtype, wanted.shape):
            raise Difference(f"{name!r} is {array.dtype} {array.shape}, not {wanted.dtype}")
        if array.tobytes() != wanted.tobytes():
            raise Difference(f"{name!r} has other numbers than the other reader's")


# npy

_DESCRS: tuple[str, ...] = (
    "'<f4'",
    '"<f4"',
    "'<V2'",
    "'|O'",
    "'f4'",
    "'<f3'",
    "'|S4'",
    "'<U1'",
    "[('a', '<f4')]",
)
_DESCRS += ("'<c8'", "'<M8[ns]'", "'<f16'", "'(2,)<f2'", "'<f4,'", "None", "4", "'|b1'", "'>i4'")
_SHAPES: tuple[str, ...] = (
    "()",
    "(,)",
    "(6)",
    "(6,)",
    "[6]",
    "(2, 3)",
    "(2L, 3L)",
    "(-2, -3)",
    "(True, 6)",
    "(06,)",
)
_SHAPES += ("(2,3,)", "(6, 1, 1)", "(0, 9)", "(1000000000000,)", f"({'-' * 3000}1,)", f"({9**99},)")
_ORDERS = ("False", "True", "0", "1", "None", "'False'")
_PIECES = (b"'", b'"', b"{", b"}", b"(", b")", b",", b":", b" ", b"\n", b"\0", b"-", b"1", b"L")


def header_text(array: Array, rng: random.Random) -> bytes:
    """Return the text of a header, mostly right, in one of the ways in which it may be written."""
    members = {
        "descr": repr(array.dtype.str),
        "fortran_order": str(not array.flags.c_contiguous),
        "shape": repr(array.shape),
    }
    if rng.random() < 0.3:
        key, values = rng.choice(
            (("descr", _DESCRS), ("shape", _SHAPES), ("fortran_order", _ORDERS))
        )
        members[key] = rng.choice(values)
    parts = [f"'{key}': {value}" for key, value in members.items()]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    if rng.random() < 0.1:
        parts += [rng.choice(parts)]
    if rng.random() < 0.1:
        del parts[rng.randrange(len(parts))]
    text = rng.choice(("{", "{ ")) + rng.choice((", ", ",", " ,  ")).join(parts)
    text += rng.choice((", }", "}", ",}", " }")) + " " * rng.choice((0, 1, 40))
    data = text.encode() + rng.choice((b"\n", b"\n", b""))
    return edited(data, rng, _PIECES, most=2) if rng.random() < 0.2 else data


def npy_bytes(rng: random.Random) -> bytes:
    """Return an npy file with some edits."""
    array = drawn(rng)
    text = header_text(array, rng)
    version = rng.choice((1,) * 20 + (2,) * 10 + (0, 3))
    size = struct.pack("<I" if version > 1 else "<H", len(text))
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    data = b"\x93NUMPY" + bytes((version, 0)) + size + text + array.tobytes(order)
    return edited(data, rng, most=1) if rng.random() < 0.2 else data


def numpys(path: Path) -> dict[str, Array]:
    """Return what NumPy reads."""
    try:
        with warnings.catch_warnings():  # of headers by Python 2
            warnings.simplefilter("ignore")
            found = np.load(path, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {path.stem: found}
            with found:
                return dict(found)
    except Exception as failure:
        raise Difference(f"NumPy does not read it: {failure}") from failure


def try_npy(folder: Path, rng: random.Random) -> bool:
    """Read a folder of one npy file, by the step's name."""
    path = folder / "embeddings.npy"
    path.write_bytes(npy_bytes(rng))
    found = read(folder)
    if found is None:
        return False
    check_same(found, numpys(path))
    return True


# npz


def zip_bytes(rng: random.Random) -> bytes:
    """Return an npz file, mostly of good members, with some edits of what zip says of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as to:
        for name in rng.sample(NAMES, rng.choice((1, 1, 2, 3) * 5 + (0,))):
            member = io.BytesIO()
            np.save(member, drawn(rng))
            good = rng.random() < 0.9
            to.writestr(name + rng.choice((".npy",) * 30 + ("", ".txt", "/", ".npy.npy")),
                        member.getvalue() if good else npy_bytes(rng))  # fmt: skip
        to.comment = rng.choice((b"",) * 30 + (b"PK\x05\x06",))
    data = buffer.getvalue()
    if rng.random() < 0.25:
        data = fields_edited(data, rng)
    if rng.random() < 0.2:
        data = edited(data, rng, most=2)
    return (
        rng.choice((b"",) * 60 + (b"PK before", b"\0")) + data + rng.choice((b"",) * 40 + (b"x",))
    )


def fields_edited(data: bytes, rng: random.Random) -> bytes:
    """Return a zip in which one number of a header is another one."""
    places = [match.start() for match in re.finditer(b"PK(\x01\x02|\x03\x04|\x05\x06)", data)]
    place = rng.choice(places) + rng.randrange(4, 46)
    width = rng.choice((1, 2, 4))
    old = int.from_bytes(data[place : place + width], "little")
    new = rng.choice((0, 1, old + 1, old - 1, 8, 0xFFFFFFFF, 1 << 31, rng.getrandbits(32)))
    raw = (new % (1 << 8 * width)).to_bytes(width, "little")
    return data[:place] + raw + data[place + width :]


def try_npz(path: Path, rng: random.Random) -> bool:
    """Read an npz file."""
    data = zip_bytes(rng)
    path.write_bytes(data)
    found = read(path)
    if found is None:
        return False
    if data.startswith(b"PK"):
        check_same(found, numpys(path))
    return True


# safetensors

_CODES = {"f": {2: "F16", 4: "F32", 8: "F64"}, "b": {1: "BOOL"}, "u": {1: "U8", 2: "U16", 8: "U64"}}
_CODES["i"] = {2: "I16", 4: "I32", 8: "I64"}
_ODD = (*NAMES, "F32", "BOOL", "BF16", "F8_E4M3", "", "\0", "__metadata__", "a" * 600, -1, 0, 3, 9)
_VALUES: tuple[Any, ...] = (
    *_ODD,
    [],
    [0],
    [0, 4],
    [1 << 62],
    {},
    None,
    True,
    1.5,
    "numpy_bert.trace/2",
    CONTRACT,
)


def trace_bytes(rng: random.Random) -> bytes:
    """Return a safetensors file as ours or as another program writes it, with some edits."""
    arrays = {name: drawn(rng) for name in rng.sample(NAMES, rng.randint(0, 3))}
    little = {name: a.astype(a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    metadata = {"contract": CONTRACT, CHECKSUM: "0" * 64} if rng.random() < 0.5 else {}
    entries = [
        Entry(name, _CODES[a.dtype.kind][a.dtype.itemsize], a.shape, 0, a.nbytes)
        for name, a in little.items()
    ]
    header = make_header(entries, metadata)
    data = b"".join(array.tobytes() for array in little.values())
    if rng.random() < 0.4:
        members = json.loads(header[8:])
        keys = list(members)
        for key in rng.sample(keys, min(len(keys), 1)):
            inner = members[key]
            part = rng.choice(list(inner)) if inner else "shape"
            inner[part if rng.random() < 0.8 else rng.choice(NAMES)] = rng.choice(_VALUES)
        text = json.dumps(members, ensure_ascii=rng.random() < 0.5).encode()
        header = struct.pack("<Q", len(text)) + text
    if rng.random() < 0.2:
        text = edited(header[8:], rng, most=2)
        header = struct.pack("<Q", len(text)) + text
    whole = header + data
    return edited(whole, rng, most=1) if rng.random() < 0.1 else whole


def try_trace(path: Path, rng: random.Random) -> bool:
    """Read a safetensors trace, of which every second that has a checksum has the right one."""
    data = trace_bytes(rng)
    path.write_bytes(data)
    signed = rng.random() < 0.7
    if signed:
        data = data.replace(b"0" * 64, checksum_of(path, "0" * 64).encode(), 1)
        path.write_bytes(data)
    found = read(path)
    if found is None:
        return False
    try:
        theirs = load_safetensors(data)
    except Exception as failure:
        known = isinstance(
            failure, (KeyError, AttributeError, TypeError)
        )  # of dtypes that it lacks
        if not known:
            raise Difference(f"safetensors does not read it: {failure}") from failure
        return True
    check_same(found, theirs)
    claims = open_trace(path).metadata
    if claims.get("contract") == CONTRACT:
        blank = data.replace(claims[CHECKSUM].encode(), b"0" * 64, 1)
        if hashlib.sha256(blank).hexdigest() != claims[CHECKSUM]:
            raise Difference("it is not what its checksum was made of")
    return True


# Name maps

_BITS: tuple[str, ...] = (
    "encoder.layer.",
    "*",
    "*",
    "*",
    "h.",
    "attn",
    ".",
    "q",
    "3",
    "1234",
    "input_ids",
    "/",
)
_BITS += (
    "hidden_states",
    "/encoder/",
    "bert.",
    "\n",
    "é",
    "٣",
    "[0]",
    "\u2028",
    "\ud800",
    "\x1b[31m",
)
_AXES = ("BTH", "BTAD", "", "X", "BBBBBBB", 3, None, ["B"])


def name_of(rng: random.Random, most: int = 6) -> str:
    """Return a name or a glob."""
    return "".join(rng.choice(_BITS) for _ in range(rng.randint(0, most)))


def rules_of(rng: random.Random) -> dict[str, Any]:
    """Return a name map, mostly a good one."""
    rules = dict[str, Any]()
    for _ in range(rng.randint(0, 4)):
        name = name_of(rng)
        step = name_of(rng, 3).replace("*", "", max(name.count("*") - rng.randint(0, 2), 0))
        axes = rng.choice(_AXES) if rng.random() < 0.2 else "BTH"
        odd = rng.random() < 0.1
        rules[name] = rng.choice((None, 3, "", [step], {})) if odd else rng.choice((step or "x",
                                 [step or "x", axes]))  # fmt: skip
    return rules


def expected(rules: Mapping[str, Any], name: str) -> Named:
    """Return what a map makes of a name, by greedy regular expressions."""
    for glob, rule in rules.items():
        pattern = "(.*)".join(re.escape(part) for part in glob.split("*"))
        found = re.fullmatch(pattern, name, re.DOTALL)
        if found is not None:
            step, axes = rule if isinstance(rule, (list, tuple)) else (rule or "", None)
            parts = iter(found.groups())
            return Named("".join(next(parts) if bit == "*" else bit for bit in step), axes)
    return NameMap()(name)


def try_map(path: Path, rng: random.Random) -> bool:
    """Read a name map and ask it for names."""
    data = json.dumps(rules_of(rng), ensure_ascii=rng.random() < 0.9).encode(errors="replace")
    path.write_bytes(edited(data, rng, most=1) if rng.random() < 0.2 else data)
    found = list[dict[str, Any]]()
    if refused(lambda: found.append(read_map(path)), naming=str(path)):
        return False
    names = [name_of(rng).replace("*", rng.choice(("", "*", "3"))) for _ in range(3)]
    names += [glob.replace("*", name_of(rng, 3)) for glob in found[0]]
    for name in names:
        answer = NameMap(found[0])(name)
        if answer != expected(found[0], name):
            raise Difference(f"{name!r} is {answer}, not {expected(found[0], name)}")
    return True


# What is printed and drawn of odd names

_WORDS: tuple[str, ...] = (
    "<script>alert(1)</script>",
    "</title>",
    "<img src=x onerror=alert(1)>",
    "'",
    '"',
    "&",
    ">",
)
_WORDS += ("<!--", "-->", "]]>", "${sentence}", "$verdict", "\x1b[31m", "\n", "\r", "\0", "\u2028")
_WORDS += ("\u202e", "\ud800", "\x7f", "\x9b", "encoder.layer.", "embeddings.", "é", " ", "a" * 90)


def odd(rng: random.Random, most: int = 4) -> str:
    """Return words that would do harm, were they not text."""
    return "".join(rng.choice(_WORDS) for _ in range(rng.randint(1, most)))


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and the text of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.scripts = set[tuple[str, ...]](), list[str]()
        self.texts = dict[str, list[str]]()
        self._within = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down a tag; a handler or an address among its attributes would stand out."""
        self.tags.add((tag, *sorted(name for name, _ in attrs)))
        self._within = tag
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        """Take down a text, by the tag that it follows."""
        self.texts.setdefault(self._within, [""])[-1] += data

    def handle_comment(self, data: str) -> None:
        """Hold that no comment hides anything."""
        raise Difference(f"the page has a comment: {data[:200]!r}")


def check_page(page: str, plain: Tags) -> Tags:
    """Raise Difference if a page has more than one of plain names has."""
    found = Tags(page)
    more = sorted(found.tags - plain.tags)
    if more or found.texts.get("script") != plain.texts.get("script"):
        raise Difference(f"the page has other tags or another script: {more[:5]}")
    return found


def two_traces(names: Sequence[str], rng: random.Random) -> Callable[[], str]:
    """Return the comparison of two traces of these names, as a call that gives its page."""
    reference: dict[str, Any] = {"embeddings": np.ones((1, 2, 3)), "input_ids": np.ones((1, 2))}
    reference |= {name: np.array(rng.choice(([[[1.0, np.nan]]], [2.0, 3.0], 7))) for name in names}
    candidate = {name: a for name, a in reference.items() if not names or rng.random() < 0.9}
    for name in list(candidate):
        if rng.random() < 0.4:
            candidate[name] = candidate[name] * rng.choice((1.0, 1.5, np.inf))
    candidate_label, label = (odd(rng) if names else "a" for _ in range(2))
    rules = (
        [f"{rng.choice((odd(rng), names[0], '*'))}:1e-3"] * (rng.random() < 0.6) if names else []
    )
    check = rng.choice(CHECKS)

    def call() -> str:
        tolerances = Tolerances(rules, check=check)
        found = compare(as_trace(reference), as_trace(candidate), tolerances)
        strict, verbose = rng.random() < 0.5, rng.random() < 0.5
        report = replace(found, strict=strict, candidate=candidate_label, against=label)
        for line in as_text(report, verbose=verbose).split("\n"):
            if not line.isprintable():
                raise Difference(f"a line of the report cannot be printed as it is: {line!r}")
        told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
        if [row["name"] for row in told["steps"]] != [row.name for row in report.steps]:
            raise Difference("the JSON has other names than the report")
        return as_html(report)

    return call


def plain_tags(_: Path) -> Tags:
    """Return what the page of a report consists of."""
    pages = "".join(two_traces((), random.Random(seed))() for seed in range(40))  # noqa: S311
    parts = "".join(two_traces(["encoder.layer.0"], random.Random(9))())  # noqa: S311
    found = Tags(two_traces((), random.Random(0))())  # noqa: S311
    found.tags |= Tags(pages).tags | Tags(parts).tags
    return found


def try_report(plain: Tags, rng: random.Random) -> bool:
    """Compare traces of odd names, and look at what is printed and at the page."""
    names = [odd(rng) for _ in range(rng.randint(1, 4))]
    pages = list[str]()
    call = two_traces(names, rng)
    if refused(lambda: pages.append(call()), naming=""):
        return False
    check_page(pages[0], plain)
    return True


class Drawn(NamedTuple):
    """A text as the demo reads it, and what its page consists of."""

    reading: explain.Reading
    page: Tags
    figure: Tags


def read_demo(_: Path) -> Drawn:
    """Let the demo read a text."""
    model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    reading = explain.read("a test", model=model, tokenizer=tokenizer)
    told = replace(reading, notes=("a note",))
    page = Tags(explain.page(told))
    return Drawn(reading, page, Tags(explain.figure(reading).svg))


def try_picture(demo: Drawn, rng: random.Random) -> bool:
    """Draw a text of odd tokens, by a model of an odd name: in the terminal, as figure, as page."""
    tokens = tuple(replace(token, text=odd(rng, 2)) for token in demo.reading.tokens)
    texts = tuple(odd(rng) for _ in range(rng.randint(1, 2)))
    notes = (f"the text has lost {quoted(odd(rng))}.",) * rng.randint(0, 1)
    reading = replace(demo.reading, name=odd(rng), texts=texts, tokens=tokens, notes=notes)
    for line in explain.terminal(reading, width=80, colour=False).split("\n"):
        if not line.isprintable():
            raise Difference(f"a line in the terminal cannot be printed as it is: {line!r}")
    if rng.random() < 0.1:
        check_explained(explain.page(reading), demo.page, reading)
        return True
    features: Any = rng.choice((1, 24, 10**6, [0, 127], 0, -1, [128], [], 0.5, odd(rng), [None]))
    drawings = list[str]()
    call = partial(explain.figure, reading, features=features)
    if refused(lambda: drawings.append(call().svg), naming="figure: features"):
        return False
    check_page(drawings[0], demo.figure)
    return True


def check_explained(page: str, plain: Tags, reading: explain.Reading) -> None:
    """Raise Difference unless a page of explain holds the tokens as text, and nothing else new."""
    page.encode()
    found = Tags(page)
    data, script = found.texts["script"]
    if found.tags - plain.tags or script != plain.texts["script"][1]:
        raise Difference(f"other tags or another script: {sorted(found.tags - plain.tags)[:5]}")
    if [token["text"] for token in json.loads(data)["tokens"]] != [t.text for t in reading.tokens]:
        raise Difference("the page has other tokens")


TARGETS = [
    Target("npy", "NumPy's reader", lambda folder: folder, try_npy),
    Target("npz", "NumPy's reader", lambda folder: folder / "a.npz", try_npz),
    Target("trace", "the safetensors library", lambda folder: folder / "a.safetensors", try_trace),
    Target("name-map", "regular expressions", lambda folder: folder / "names.json", try_map),
    Target("report", "the page of plain names", plain_tags, try_report),
    Target("picture", "the page of a plain text", read_demo, try_picture, cost=10),
]

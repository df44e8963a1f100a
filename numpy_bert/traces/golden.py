"""Golden packs: traces in float64 of a few inputs that exercise what ports get wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert import __version__
from numpy_bert.errors import OutputError
from numpy_bert.files import check_space, look, trouble, write_atomically, writing_folder
from numpy_bert.loading.integrity import sha256
from numpy_bert.model.bert import BertModel
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.recording import Recorder
from numpy_bert.traces.trace_inputs import TraceInputs, inputs_of

__all__ = ["MANIFEST", "golden_size", "write_golden"]

MANIFEST = "golden.json"
_SENTENCE = "this is a test sentence"
_SHORT = "The bank of the river."
_LONG = "A man who had eaten at the bank walked along the river, and nobody came with him."
_UNUSUAL = "na\u00efve caf\u00e9 \u6771\u4eac \U0001f642 $3.50 'quoted' e-mail@example.org"


class _Case(NamedTuple):
    """One input of a pack."""

    name: str
    what: str
    texts: Sequence[str]
    inputs: TraceInputs
    pair: bool = False


def golden_size(
    model: BertModel,
    tokenizer: BertTokenizer,
    recorder: Recorder,
    names: Sequence[str] | None = None,
) -> int:
    """Return how many bytes the arrays of a pack have; the arguments are those of `write_golden`.

    Raises
    ------
    TraceError
        If one of the `names` fits no step.
    """
    return _size(_cases(model, tokenizer), recorder, names)


def _size(cases: Sequence[_Case], recorder: Recorder, names: Sequence[str] | None) -> int:
    """Return how many bytes the arrays of some cases have."""
    return sum(tensor.nbytes for case in cases for tensor in recorder.tensors(case.inputs, names))


def write_golden(
    folder: Path,
    model: BertModel,
    tokenizer: BertTokenizer,
    recorder: Recorder,
    *,
    name: str,
    names: Sequence[str] | None = None,
) -> list[Path]:
    """Write a pack into a folder that is made for it.

    Parameters
    ----------
    folder : Path
        A folder that is empty or does not exist yet.
    model : BertModel
        The model, in float64.
    tokenizer : BertTokenizer
        The tokenizer of the same checkpoint.
    recorder : Recorder
        Runs the model and writes its traces.
    name : str
        The name of the checkpoint, for the command that is noted.
    names : sequence of str, optional
        Globs of the steps to write; all by default.

    Returns
    -------
    list of Path
        The traces, and last of all ``golden.json``, which lists them.

    Raises
    ------
    OutputError
        If the folder holds something, or the disk is full. Nothing has changed then.
    """
    _check_free(folder)
    chosen = ["--names", *names] if names else []
    command = shlex.join(["numpy-bert", "golden", name, *chosen, "-o", folder.name])
    cases = _cases(model, tokenizer)
    check_space(folder, _size(cases, recorder, names), "Take fewer names (--names).")
    with writing_folder(folder) as temporary:
        entries = [_write(temporary, case, recorder, names, command) for case in cases]
        manifest = {
            "command": command,
            "model": name,
            "numpy_bert": __version__,
            "verify": f"numpy-bert verify YOUR_TRACE --model {shlex.quote(name)}",
            "compare": f"numpy-bert compare {entries[0]['file']} YOUR_TRACE --common",
            "cases": entries,
        }
        data = (json.dumps(manifest, indent=2) + "\n").encode("utf-8")
        write_atomically(temporary / MANIFEST, data)
    return [*(folder / str(entry["file"]) for entry in entries), folder / MANIFEST]


def _check_free(folder: Path) -> None:
    """Raise OutputError unless the folder is empty or not there."""
    found = look(folder)
    if found == "unreadable":
        raise OutputError(f"{folder} {trouble(folder)}; name a new one.")
    try:
        stands = found != "absent" and (found != "folder" or any(folder.iterdir()))
    except OSError as failure:
        raise OutputError(f"{folder} cannot be looked at ({failure.strerror}).") from None
    if stands:
        raise OutputError(
            f"{folder} must be empty or not there; it holds files or is no folder. Name a new one."
        )


def _write(
    folder: Path, case: _Case, recorder: Recorder, names: Sequence[str] | None, command: str
) -> dict[str, Any]:
    """Write the trace of one case, and return its entry in the manifest."""
    path = folder / f"{case.name}.safetensors"
    recorder.record(
        path,
        case.inputs,
        names=names,
        texts=case.texts or None,
        pair=case.pair,
        more={"command": command},
    )
    return {
        "file": path.name,
        "what": case.what,
        "texts": list(case.texts),
        "shape": list(case.inputs.input_ids.shape),
        "sha256": sha256(path),
    }


def _cases(model: BertModel, tokenizer: BertTokenizer) -> list[_Case]:
    """Return the inputs of a pack, from the smallest to the longest."""
    longest = min(model.config.max_tokens, tokenizer.model_max_length or 512, 512)
    pair = tokenizer(_SHORT, _LONG, return_tensors="np")
    batch = [_SENTENCE, _LONG, _SHORT, _UNUSUAL]
    right = tokenizer(batch, padding=True, return_tensors="np")
    counts = model.config.position_padding_idx is not None
    rule = "do not count the padding" if counts else "count from the padding"
    left = f"the same, padded left: positions {rule}"
    segments = "two segments" if model.config.type_vocab_size > 1 else "two texts"
    rare = np.linspace(0, model.config.vocab_size - 1, 30).round().astype(np.int64)
    words = np.array(tokenizer(_LONG, add_special_tokens=False)["input_ids"])
    long = np.resize(words, max(longest - 2, 0))
    made: list[tuple[str, str, list[str], Mapping[str, Any]]] = [
        ("sentence", "one sentence", [_SENTENCE], tokenizer(_SENTENCE, return_tensors="np")),
        ("pair", segments, [_SHORT, _LONG], pair),
        ("padded", "four lengths, padded right", batch, right),
        ("padded_left", left, batch, _shifted(right)),
        ("rare_ids", "ids from all over the vocabulary", [], _framed(rare, tokenizer)),
        ("longest", f"{longest} tokens", [], _framed(long, tokenizer, longest)),
    ]
    return [
        _Case(name, what, texts, inputs_of(encoding, model), pair=name == "pair")
        for name, what, texts, encoding in made
    ]


def _shifted(encoding: Any) -> dict[str, Any]:
    """Move every row's tokens to its right end."""
    moved = {}
    for name, rows in encoding.items():
        gaps = (encoding["attention_mask"] == 0).sum(axis=1)
        moved[name] = np.stack([np.roll(row, gap) for row, gap in zip(rows, gaps, strict=True)])
    return moved


def _framed(
    ids: npt.NDArray[np.int64], tokenizer: BertTokenizer, length: int | None = None
) -> dict[str, Any]:
    """Return a row of [CLS], the ids and [SEP], cut to a length."""
    row = np.concatenate([[tokenizer.cls_token_id], ids, [tokenizer.sep_token_id]])
    return {"input_ids": row[np.newaxis, :length]}

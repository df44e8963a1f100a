"""Decoders under every name that a checkpoint can have for them, against transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

import numpy_bert
from tests.parity.test_heads_parity import inputs_of, seeded
from tests.tolerances import HEADS_AGAINST_TORCH

Tensors = dict[str, npt.NDArray[Any]]

WORD, BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"


def moved(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    names = dict(pairs)
    return {names.get(key, key): array for key, array in tensors.items()}


def beside(tensors: Tensors, scale: float, *pairs: tuple[str, str]) -> Tensors:
    return tensors | {copy: tensors[original] * np.float32(scale) for original, copy in pairs}


WEIGHTS, BIASES = (WORD, DECODER), (BIAS, DECODER_BIAS)
STORED: dict[str, Callable[[Tensors], Tensors]] = {
    "first names": lambda t: t,
    "decoder.weight alone": lambda t: moved(t, WEIGHTS),
    "decoder.bias alone": lambda t: moved(t, BIASES),
    "both alone": lambda t: moved(t, WEIGHTS, BIASES),
    "both twice": lambda t: beside(t, 1.0, WEIGHTS, BIASES),
    "another decoder.weight": lambda t: beside(t, 0.5, WEIGHTS),
    "another decoder.bias": lambda t: beside(t, 0.5, BIASES),
    "both others": lambda t: beside(t, 0.5, WEIGHTS, BIASES),
    "another weight, the bias renamed": lambda t: beside(moved(t, BIASES), 0.5, WEIGHTS),
}


@pytest.fixture(scope="module", params=["BertForMaskedLM", "BertForPreTraining"])
def plain(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A class, and a checkpoint of it as transformers stores it: by first names."""
    folder = tmp_path_factory.mktemp("plain")
    seeded(request.param).save_pretrained(folder)
    assert not {DECODER, DECODER_BIAS} & load_file(folder / "model.safetensors").keys()
    return request.param, folder


def theirs_of(name: str, folder: Path) -> npt.NDArray[Any]:
    """Return transformers' scores of a checkpoint of which it starts nothing anew."""
    model, info = getattr(transformers, name).from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"]
    with torch.no_grad():
        output = model.eval()(**{key: torch.from_numpy(a) for key, a in inputs_of(name).items()})
    scores: npt.NDArray[Any] = output[0].numpy()
    return scores


@pytest.mark.parametrize("case", STORED)
def test_a_decoder_is_the_one_that_transformers_reads(
    case: str, plain: tuple[str, Path], tmp_path: Path
) -> None:
    name, source = plain
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = STORED[case](load_file(source / "model.safetensors"))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    theirs = theirs_of(name, tmp_path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = getattr(numpy_bert, name).from_pretrained(tmp_path, dtype="float64")
    assert bool(warned) == ("other" in case)
    assert model.loading_info.unexpected_keys == ()
    assert not [key for key in model.loading_info.missing_keys if not key.startswith("pooler.")]
    ours = model(**inputs_of(name), unpad_inputs=False)[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=HEADS_AGAINST_TORCH)
    # And what is saved is this model there, too.
    model.save_pretrained(tmp_path / "ours")
    again = theirs_of(name, tmp_path / "ours")
    np.testing.assert_allclose(again, theirs, rtol=0, atol=HEADS_AGAINST_TORCH)

"""numpy_bert.kernels.embeddings against the readable block: the twin test."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert.kernels.embeddings as kernels
from numpy_bert import BertModel, set_num_threads
from numpy_bert.arrays import Array
from numpy_bert.blocks.embeddings import embeddings
from numpy_bert.inputs import ModelInputs
from numpy_bert.kernels.choices import Choices
from numpy_bert.kernels.embeddings import EmbeddingsKernel, fits
from numpy_bert.parameters import EmbeddingParameters
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import float32_budget

pytestmark = pytest.mark.usefixtures("threads")

RNG = np.random.default_rng(3)


def loaded(folder: Path, *, features: int = 24, stored: str = "F32") -> BertModel:
    """Return a float32 model whose tables are stored in some dtype."""
    config = TINY | {"hidden_size": features, "num_attention_heads": 1}
    tensors = random_tensors(config)
    if stored == "F16":
        tensors = {key: array.astype(np.float16) for key, array in tensors.items()}
    write_checkpoint(folder, tensors, config, bfloat16=stored == "BF16")
    return BertModel.from_pretrained(folder)


def in_blocks(model: BertModel, rows: int) -> EmbeddingsKernel:
    """Return the model's kernel, working in blocks of `rows` rows, in threads from 32 of them."""
    parameters = model.embeddings.parameters
    assert fits(parameters)
    return EmbeddingsKernel(parameters, eps=model.config.layer_norm_eps, rows=rows)


def inputs(shape: tuple[int, int], segments: str, positions: str) -> dict[str, Any]:
    """Return arguments of `BertEmbeddings.steps`; TINY has 61 words, 3 segments, 19 positions."""
    chosen: dict[str, Any] = {"input_ids": RNG.integers(0, 61, shape)}
    if segments != "none":
        chosen["token_type_ids"] = RNG.integers(0, 3, shape) * (segments == "mixed")
    if positions == "shared":
        chosen["position_ids"] = RNG.integers(0, 19, (1, shape[1]))
    elif positions == "own":
        chosen["position_ids"] = RNG.integers(0, 19, shape)
    return chosen


def run(kernel: EmbeddingsKernel, given: dict[str, Any], features: int) -> Array:
    ids = given["input_ids"]
    out = np.full((*ids.shape, features), np.nan, np.float32)
    segments, positions = given.get("token_type_ids"), given.get("position_ids")
    assert kernel(ModelInputs(words=ids, segment_ids=segments, position_ids=positions), out)
    return out


@pytest.mark.parametrize("stored", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("features", [1, 24, 37, 384])
def test_the_twin_is_as_near_to_float64_as_it_must_be(
    tmp_path: Path, features: int, stored: str
) -> None:
    model = loaded(tmp_path, features=features, stored=stored)
    specification = BertModel.from_pretrained(tmp_path, dtype="float64")
    alone = in_blocks(model, 1)
    for shape in [(1, 1), (1, 7), (3, 7), (9, 4), (2, 19), (17, 19)]:
        for segments in ("none", "zero", "mixed"):
            for positions in ("none", "shared", "own"):
                given = inputs(shape, segments, positions)
                reference = specification.embeddings.steps(**given).output
                expected = run(alone, given, features)
                assert np.abs(expected - reference).max() <= float32_budget(reference)
                for rows in (2, 3, 7, 8, 19, 20, 1000):  # all remainders of 4, 7, 19
                    set_num_threads(3 if rows % 2 else 1)
                    found = run(in_blocks(model, rows), given, features)
                    assert found.tobytes() == expected.tobytes()


def test_the_sum_is_that_of_the_readable_code_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {k: RNG.normal(0, 1, a.shape).astype("f4") for k, a in random_tensors().items()}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    for given in (inputs((5, 7), "mixed", "none"), inputs((5, 7), "none", "own")):
        kernel = in_blocks(model, 8)
        monkeypatch.setattr(kernel, "_norm", lambda *_: True)
        assert run(kernel, given, 24).tobytes() == model.embeddings.steps(**given).sum.tobytes()


@pytest.mark.parametrize("stored", ["F32", "F16"])
@pytest.mark.parametrize("types", [True, False])
def test_task_0_is_added_last_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: bool, stored: str
) -> None:
    tensors = {k: RNG.normal(0, 1, a.shape).astype("f4") for k, a in random_tensors().items()}
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    tasks = RNG.normal(0, 1, (3, 24)).astype("f4" if stored == "F32" else "f2")
    parameters = replace(
        model.parameters.embeddings, task_type_embeddings=EmbeddingParameters(weight=tasks)
    )
    if not types:
        parameters = replace(parameters, token_type_embeddings=None)
    assert fits(parameters)
    for shape in ((1, 1), (5, 7), (3, 19)):
        for rows in (1, 7, 8, 20):
            given = inputs(shape, "mixed" if types else "none", "none")
            kernel = EmbeddingsKernel(parameters, eps=1e-12, rows=rows)
            monkeypatch.setattr(kernel, "_norm", lambda *_: True)
            read = ModelInputs(words=given["input_ids"], segment_ids=given.get("token_type_ids"))
            expected = embeddings(parameters, read, eps=1e-12, p=0.0).sum
            assert run(kernel, given, 24).tobytes() == expected.tobytes()
    wrong = replace(parameters, task_type_embeddings=EmbeddingParameters(weight=tasks.astype("f8")))
    assert not fits(wrong)


def test_the_plain_call_runs_the_kernel_and_the_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path)
    double = BertModel.from_pretrained(tmp_path, dtype="float64")
    ids = RNG.integers(0, 61, (3, 7))
    rows = model.embeddings.word_embeddings(ids)
    seen = []
    original = EmbeddingsKernel.__call__

    def spy(self: EmbeddingsKernel, *arguments: Any) -> bool:
        seen.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(EmbeddingsKernel, "__call__", spy)
    plain = model.embeddings(ids)
    assert model.embeddings(inputs_embeds=rows).tobytes() == plain.tobytes()
    assert len(seen) == 2
    model.embeddings(ids, rng=np.random.default_rng(0))
    model.embeddings(ids, keep=np.ones((3, 7, 24), bool))
    model.embeddings.steps(ids)
    double.embeddings(ids)
    assert len(seen) == 2


def test_a_row_is_the_same_alone_padded_permuted_and_in_any_batch(minilm: Path) -> None:
    model = BertModel.from_pretrained(minilm)
    ids = RNG.integers(0, 30522, (9, 37))
    segments = RNG.integers(0, 2, ids.shape)
    for threads in (1, 2, 5):
        set_num_threads(threads)
        batch = model.embeddings(ids, segments)
        for row in range(len(ids)):
            alone = model.embeddings(ids[row : row + 1], segments[row : row + 1])
            assert alone.tobytes() == batch[row].tobytes()
        wide = model.embeddings(np.pad(ids, ((0, 200), (0, 400))))[:9, :37]
        assert wide.tobytes() == model.embeddings(ids).tobytes()
        order = RNG.permutation(len(ids))
        assert model.embeddings(ids[order], segments[order]).tobytes() == batch[order].tobytes()


def test_a_large_call_is_shared_out_and_a_small_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "tuning", lambda: Choices(block_bytes=384 << 10))
    model = loaded(tmp_path, features=384)
    set_num_threads(7)
    calls: list[int] = []

    def count(work: Any, parts: Any) -> Any:
        calls.append(len(parts))
        return [work(part) for part in parts]

    monkeypatch.setattr(kernels, "share", count)
    model.embeddings(np.zeros((431, 19), int))
    assert not calls
    model.embeddings(np.zeros((432, 19), int))  # 8,208 rows of 384: 32 blocks of 256
    set_num_threads(20)
    model.embeddings(np.zeros((432, 19), int))
    set_num_threads(2)
    model.embeddings(np.zeros((4320, 19), int))
    # A part for each thread, whole sequences in it; and none is larger than 32 blocks.
    assert calls == [8, 21, 11]


@pytest.mark.parametrize("change", ["transposed table", "float64 table"])
def test_parameters_of_another_kind_are_left_to_the_readable_code(
    tmp_path: Path, change: str
) -> None:
    from dataclasses import replace

    from numpy_bert.model.embeddings import BertEmbeddings

    model = loaded(tmp_path)
    parameters = model.embeddings.parameters
    table: Any = parameters.word_embeddings.weight
    table = np.asfortranarray(table) if change == "transposed table" else table.astype(float)
    words = replace(parameters.word_embeddings, weight=table)
    other = BertEmbeddings(replace(parameters, word_embeddings=words), model.config)
    assert not fits(other.parameters)
    ids = RNG.integers(0, 61, (3, 7))
    assert other(ids).tobytes() == model.embeddings.steps(ids).output.tobytes()


@pytest.mark.parametrize("shape", [(0, 7), (3, 0), (0, 0)])
def test_nothing_is_embedded_as_nothing(tmp_path: Path, shape: tuple[int, int]) -> None:
    model = loaded(tmp_path)
    ids = np.zeros(shape, int)
    for positions in (None, ids, ids[:1] if len(ids) else None):
        found = model.embeddings(ids, ids, positions)
        assert found.shape == (*shape, 24) == model.embeddings.steps(ids).output.shape


def test_an_interrupt_ends_the_others_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path)
    set_num_threads(2)
    kernel = in_blocks(model, 1)
    left = []

    main = threading.get_ident()

    def interrupted(*_: Any) -> bool:
        if threading.get_ident() == main:
            raise KeyboardInterrupt
        return True

    def slow(call: Any, block: Any, scratch: Any) -> Any:
        left.append(block)
        time.sleep(0.01)
        return call.out[block[0] : block[1]]

    monkeypatch.setattr(kernel, "_sum", slow)
    monkeypatch.setattr(kernel, "_norm", interrupted)
    ids = np.zeros((10_000, 19), int)  # all of it would take 100 seconds
    with pytest.raises(KeyboardInterrupt):
        kernel(ModelInputs(words=ids), np.empty((10_000, 19, 24), np.float32))
    assert len(left) < 2_000


def test_it_works_where_numpy_is_set_to_raise(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["embeddings.word_embeddings.weight"][5] = 1e-30
    for name in ("token_type", "position"):
        tensors[f"embeddings.{name}_embeddings.weight"][:] = 0.0
    model = BertModel.from_pretrained(write_checkpoint(tmp_path, tensors))
    ids = np.full((300, 19), 5)
    ids[::2] = 6
    set_num_threads(2)
    expected = model.embeddings(ids)
    with np.errstate(all="raise"):
        assert model.embeddings(ids).tobytes() == expected.tobytes()

"""A student's loss and gradients against torch's autograd; what it saves, others load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers

from numpy_bert import BertModel, BertTokenizer, SentenceEncoder
from numpy_bert.training import SentenceStudent
from tests.parity.test_gradients_parity import distance
from tests.support.pages import random_model
from tests.support.traces import IDS, trained_like
from tests.tolerances import GRADIENT_FLOAT64
from tests.training.test_student import LONG, sentence_model

TEACHER = np.random.default_rng(5).standard_normal((3, 9))


def theirs_of(student: SentenceStudent, folder: Path, dtype: torch.dtype) -> tuple[float, Any]:
    """Return torch's loss and gradients, by the same names."""
    model = transformers.BertModel.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", add_pooling_layer=False
    ).eval()
    projection = torch.nn.Linear(24, 9, dtype=dtype)
    with torch.no_grad():
        for name in ("weight", "bias"):
            array = np.array(getattr(student.head.projection, name))
            getattr(projection, name).copy_(torch.from_numpy(array))
    tensors = {name: torch.from_numpy(array) for name, array in IDS.items()}
    hidden, mask = model(**tensors).last_hidden_state, tensors["attention_mask"][..., None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    wanted = torch.from_numpy(TEACHER).to(dtype)
    ones = torch.ones(3)
    mapped = projection(pooled)
    loss = torch.nn.functional.cosine_embedding_loss(mapped, wanted, ones)
    unit, taught = (torch.nn.functional.normalize(v, dim=1) for v in (mapped, wanted))
    loss = loss + 10.0 * (unit @ unit.T - taught @ taught.T).square().mean()
    loss.backward()
    named = [*model.named_parameters(prefix="bert"), *projection.named_parameters("projection")]
    return float(loss.detach()), {name: p.grad.numpy() for name, p in named if p.grad is not None}


def test_gradients_are_those_of_autograd(dtype: str, tmp_path: Path) -> None:
    folder = trained_like(tmp_path, hidden_size=24)
    student = SentenceStudent.new(BertModel.from_pretrained(folder, dtype=dtype), 9, folder)
    found = student.loss_and_gradients({**IDS, "labels": TEACHER})
    ours = dict(found.named())
    assert set(ours) == set(dict(student.named_parameters()))
    exact_loss, exact = theirs_of(student, folder, torch.float64)
    their_loss, theirs = theirs_of(student, folder, getattr(torch, dtype))
    assert set(exact) == set(ours)
    assert {array.dtype for array in ours.values()} == {np.dtype(dtype)}
    if dtype == "float64":
        assert found.loss == pytest.approx(exact_loss, rel=1e-12)
        for name, reference in exact.items():
            largest = max(float(np.abs(reference).max()), 1e-3)
            apart = float(np.abs(ours[name] - reference).max())
            assert apart <= GRADIENT_FLOAT64 * largest, name
    else:
        assert found.loss == pytest.approx(
            exact_loss, abs=max(2 * abs(their_loss - exact_loss), 1e-6)
        )
        floor = 1e-4 * distance(exact, {})
        assert distance(ours, exact) <= max(2 * distance(theirs, exact), floor)


def test_a_saved_student_is_a_sentence_model(tmp_path: Path) -> None:
    folder = random_model(
        tmp_path / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    student = SentenceStudent.new(BertModel.from_pretrained(folder), 9, folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    student.save_pretrained(tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "saved" / name).write_bytes((folder / name).read_bytes())
    texts = ["the cat sat on the mat", "a dog"]
    encoder = SentenceEncoder.from_pretrained(tmp_path / "saved")
    assert encoder.notes == ()
    vectors = encoder.encode(texts)
    assert np.array_equal(vectors, student.encoder(tokenizer).encode(texts))
    assert vectors.shape == (2, 9)
    peer = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(vectors, peer.encode(texts), rtol=0, atol=1e-6)
    model, info = transformers.BertModel.from_pretrained(
        tmp_path / "saved", add_pooling_layer=False, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    inputs = dict(tokenizer(texts, padding=True, return_tensors="np"))
    with torch.no_grad():
        states = model.eval()(**{k: torch.from_numpy(v) for k, v in inputs.items()})
    mask = inputs["attention_mask"][..., np.newaxis]
    pooled = (states.last_hidden_state.numpy() * mask).sum(1) / mask.sum(1)
    mapped = pooled @ student.head.projection.weight.T + student.head.projection.bias
    expected = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("behind", "features"), [([], 36), (["Normalize"], 36), (["Dense", "Normalize"], 5)]
)
def test_what_a_student_keeps_its_peer_reads(
    behind: list[str], features: int, tmp_path: Path
) -> None:
    folder = random_model(
        tmp_path / "model", hidden_size=36, num_attention_heads=4, num_hidden_layers=2
    )
    place = sentence_model(folder, tmp_path / "sentence", behind)
    before = sentence_transformers.SentenceTransformer(str(place), device="cpu")
    student = SentenceStudent.from_folder(place, features)
    student.save_pretrained(tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "saved" / name)
    after = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert (after.prompts["query"], after.default_prompt_name) == ("Query: ", "query")
    assert (after.max_seq_length, after.truncate_dim) == (9, 4)
    assert after.similarity_fn_name == "dot"
    vectors = before.encode(LONG)
    np.testing.assert_allclose(after.encode(LONG), vectors, rtol=0, atol=1e-5)
    with pytest.warns(UserWarning, match="max_seq_length = 9"):
        ours = student.encoder(BertTokenizer.from_pretrained(folder)).encode(LONG)
    np.testing.assert_allclose(ours, vectors, rtol=0, atol=1e-5)

"""A model's parameters by name, exactly its own; and what is saved works at once."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertModel,
    BertTokenizer,
    CrossEncoder,
    InputError,
    SentenceEncoder,
)
from numpy_bert.cli import main
from numpy_bert.loading.cache import demo_folder
from numpy_bert.training import JointModel, SentenceStudent, new_classifier
from tests.support.heads import TREES, write_head

OTHERS = ("SentenceStudent", "JointModel")
DECODER, WORDS = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"


@pytest.fixture(params=[*TREES, *OTHERS])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "SentenceStudent":
        return SentenceStudent.new(BertModel.from_pretrained("demo"), 3, demo_folder())
    if request.param == "JointModel":
        kinds: dict[str, Any] = {"words": BertForMaskedLM, "order": BertForNextSentencePrediction}
        return JointModel({name: kind.from_pretrained("demo") for name, kind in kinds.items()})
    return getattr(numpy_bert, request.param).from_pretrained(write_head(tmp_path, request.param))


def test_a_model_takes_exactly_its_parameters(model: Any) -> None:
    arrays = {name: np.array(array) for name, array in model.named_parameters()}
    again = model.with_parameters(arrays)
    assert [name for name, _ in again.named_parameters()] == list(arrays)
    for name, array in again.named_parameters():
        assert array is arrays[name], name
    first, last = next(iter(arrays)), list(arrays)[-1]
    lacking = {name: array for name, array in arrays.items() if name != last}
    wider = arrays[last].astype("f8")
    longer = np.concatenate([arrays[last], arrays[last]])
    for given, message in (
        (lacking, rf"{type(model).__name__}: 1 array missing\.\n  missing  {last}"),
        ({**lacking, f"{last}s": arrays[last]}, rf"unknown  {last}s   \(did you mean {last}\?\)"),
        ({**arrays, "more": arrays[last]}, r"1 unknown\.\n  unknown  more"),
        ({}, rf"{len(arrays)} arrays missing\.\n  missing  {first}.* and {len(arrays) - 5} more"),
        ({**arrays, last: wider}, f"{last} must be float32 of shape .*; got float64 of shape"),
        ({**arrays, last: longer}, f"{last} must be .*; got float32 of shape"),
        ({**arrays, last: arrays[last].tolist()}, f"{last} must be .*; got list"),
    ):
        with pytest.raises(InputError, match=message):
            model.with_parameters(given)


def test_a_decoder_is_the_word_table_or_refused(model: Any) -> None:
    arrays = dict(model.named_parameters())
    if "cls.predictions.bias" not in arrays:
        with pytest.raises(InputError, match=f"unknown  {DECODER}"):
            model.with_parameters({**arrays, DECODER: arrays[WORDS]})
        return
    for decoder in (arrays[WORDS], arrays[WORDS].copy()):
        again = model.with_parameters({**arrays, DECODER: decoder})
        assert dict(again.named_parameters())[WORDS] is arrays[WORDS]
    with pytest.raises(InputError, match=f"{DECODER} must be {WORDS}, as they are tied"):
        model.with_parameters({**arrays, DECODER: np.zeros_like(arrays[WORDS])})
    bias = "cls.predictions.decoder.bias"
    model.with_parameters({**arrays, bias: arrays["cls.predictions.bias"].copy()})
    with pytest.raises(InputError, match=f"{bias} must be cls.predictions.bias"):
        model.with_parameters({**arrays, bias: arrays["cls.predictions.bias"] + 1})


@pytest.mark.parametrize("name", ["BertModel", *TREES])
def test_a_saved_folder_has_the_tokenizer(name: str, tmp_path: Path) -> None:
    kind = getattr(numpy_bert, name)
    head = name if name in TREES else "BertForMaskedLM"
    model = kind.from_pretrained(write_head(tmp_path / "old", head))
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "old")
    pickle.loads(pickle.dumps(model)).save_pretrained(tmp_path / "new")
    assert BertTokenizer.from_pretrained(tmp_path / "new")("hello")["input_ids"] == [2, 61, 3]
    tokenizer.save_pretrained(tmp_path / "new")  # afterwards
    model.save_pretrained(tmp_path / "new", force=True)  # before
    tokenizer.model_max_length = 7
    tokenizer.save_pretrained(tmp_path / "other")
    model.save_pretrained(tmp_path / "other")  # which keeps what is there
    assert BertTokenizer.from_pretrained(tmp_path / "other").model_max_length == 7
    assert BertTokenizer.from_pretrained(tmp_path / "new").model_max_length == 19


def test_a_model_saves_the_tokenizer_that_it_was_given(tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained("demo")
    model.tokenizer = BertTokenizer.from_pretrained("demo")
    model.tokenizer.model_max_length = 9
    model.save_pretrained(tmp_path)
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == 9


def test_a_folder_without_a_tokenizer_is_saved_without(tmp_path: Path) -> None:
    folder = write_head(tmp_path / "old", "BertForMaskedLM")
    (folder / "tokenizer.json").unlink()
    for kind in (BertModel, BertForMaskedLM):
        kind.from_pretrained(folder).save_pretrained(tmp_path / kind.__name__)
        found = sorted(path.name for path in (tmp_path / kind.__name__).iterdir())
        assert found == ["config.json", "model.safetensors"]


def test_a_saved_model_can_be_asked_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BertForMaskedLM.from_pretrained("demo").save_pretrained(tmp_path / "suns")
    shown = []
    for name in ("demo", str(tmp_path / "suns")):
        assert main(["fill-mask", "the sun is [MASK].", "--json", "--model", name]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0].pop("model") != shown[1].pop("model")
    assert shown[0] == shown[1]


@pytest.mark.parametrize("name", [None, "", 3, "a\0b", "a\ud800"], ids=ascii)
def test_what_names_no_folder_is_refused(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = BertModel.from_pretrained("demo")
    classifier = new_classifier(model, ["no", "yes"], str(demo_folder()))
    classifier.save_pretrained("classifier")
    for one in (
        *(model, model.config, BertTokenizer.from_pretrained("demo")),
        *(SentenceEncoder("demo"), SentenceStudent.new(model, 3, demo_folder())),
        CrossEncoder("classifier"),
    ):
        words = f"must be the name of a folder; got {name!r}"
        with pytest.raises(InputError, match=re.escape(words)):
            one.save_pretrained(name)
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]
    assert CrossEncoder("classifier").tokenizer.vocab_size == 8000  # saved from a folder as a str

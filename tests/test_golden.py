"""The worked example that the project grew from, and numbers that others published."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numpy_bert import BertModel, BertTokenizer
from numpy_bert.blocks.encoder import encoder, pooler
from numpy_bert.config import BertConfig
from numpy_bert.parameters import BertEncoderParameters, BertPoolerParameters, build
from numpy_bert.trace import named_steps
from tests.support.checkpoints import TINY, random_tensors, write_checkpoint
from tests.tolerances import GOLDEN, GOOGLE, NOTEBOOK_SUM

TEXT = "this is a test sentence"
TABLES = {
    "embeddings.word_embeddings": "input_ids",
    "embeddings.token_type_embeddings": "token_type_ids",
    "embeddings.position_embeddings": "position_ids",
}


@pytest.fixture(scope="module")
def notebook(data: Path) -> Any:
    return json.loads((data / "notebook_values.json").read_text("utf-8"))


def test_the_notebooks_rows_give_its_sum(notebook: Any, tmp_path: Path) -> None:
    """The printed rows, put into tables at those ids, go through our block to the printed sum."""
    columns = len(notebook["columns"])
    config = TINY | {
        "vocab_size": 30522,
        "hidden_size": columns,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    tensors = random_tensors(config)
    rows = notebook["rows"]
    for step, name in TABLES.items():
        ids = np.array(notebook[name]).reshape(-1)[rows]
        tensors[f"{step}.weight"][ids] = notebook["steps"][step]["values"]
    model = BertModel.from_pretrained(write_checkpoint(tmp_path / "notebook", tensors, config))
    inputs = [np.array(notebook[name]) for name in TABLES.values()]
    total = model.embeddings.steps(*inputs).sum[0, rows]
    printed = np.array(notebook["steps"]["embeddings.sum"]["values"])
    assert total.shape == printed.shape == (6, 6)
    assert np.abs(total - printed).max() <= NOTEBOOK_SUM


def test_its_ids(notebook: Any, data: Path, tmp_path: Path) -> None:
    vocabulary = data / "vocab" / "bert-base-uncased-vocab.txt"
    (tmp_path / "vocab.txt").write_bytes(vocabulary.read_bytes())
    inputs = BertTokenizer.from_pretrained(tmp_path)(notebook["text"], return_tensors="np")
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert inputs[name].tolist() == notebook[name]


def digits(value: float, printed: str) -> float:
    """Return half a unit of the last digit that torch printed."""
    if printed == "4 decimals":
        return 0.5e-4
    return float(0.5 * 10.0 ** (np.floor(np.log10(abs(value))) - 4))


def near(found: Any, golden: Any, tolerance: float) -> None:
    """Hold an array against one that was published, or against lists of numbers."""
    golden = np.asarray(golden)
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() <= tolerance


def test_a_real_encoder_fed_past_its_embedding(data: Path, dtype: str) -> None:
    """A bert-tiny, fine-tuned on SST-2, published without tables but with a sentence's rows."""
    folder = data / "checkpoints" / "bert_tiny_sst2_encoder"
    tensors = load_file(folder / "model.safetensors")
    config = BertConfig.from_json_file(folder / "config.json")

    def get(key: str) -> Any:
        return tensors[f"bert.{key}"].astype(dtype)

    golden = np.load(folder / "golden.npz")
    rows = golden["embedding_output"][np.newaxis].astype(dtype)
    steps = encoder(build(BertEncoderParameters, config, get, "encoder."), rows, config=config)
    pooled = pooler(build(BertPoolerParameters, config, get, "pooler."), steps.output).output
    tolerance = GOLDEN[dtype]
    for number, layer in enumerate(steps.layer, 1):
        near(layer.output.output[0], golden[f"hidden_{number}"], tolerance)
    near(pooled[0], golden["pooled"], tolerance)
    logits = pooled @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    near(logits[0], golden["logits_true_layernorm_torch_f64"], tolerance)


@pytest.mark.parametrize(
    ("name", "head", "golden"),
    [
        ("tinycrop_qa_L12_H8_v10", "qa_outputs", ("start_logits", "end_logits")),
        ("tinycrop_seqcls_L12_H8", "classifier", ("logits",)),
        ("bert_toy_pretraining_L5_H32", "cls.seq_relationship", ("seq_relationship_score",)),
    ],
)
def test_published_logits_one_dense_layer_above_the_model(
    data: Path, name: str, head: str, golden: tuple[str, ...], dtype: str
) -> None:
    folder = data / "checkpoints" / name
    published = json.loads((folder / "golden.json").read_text("utf-8"))
    tensors = load_file(folder / "model.safetensors")
    model = BertModel.from_pretrained(folder, dtype=dtype)
    inputs: Any = published["inputs"]
    output = model(**inputs)
    last = output.last_hidden_state if head == "qa_outputs" else output.pooler_output
    assert last is not None
    logits = last @ tensors[f"{head}.weight"].T + tensors[f"{head}.bias"]
    parts = [logits] if len(golden) == 1 else list(np.moveaxis(logits, -1, 0))
    for part, key in zip(parts, golden, strict=True):
        near(part, published["outputs"][key], GOLDEN["float32"])  # published in float32


def test_keras_berts_checkpoint_from_text_to_its_relationship_logits(
    data: Path, dtype: str
) -> None:
    folder = data / "checkpoints" / "keras_bert_tiny_pretraining_L2_H4"
    published = json.loads((folder / "golden.json").read_text("utf-8"))["cases"]
    assert len(published) == 4
    tensors = load_file(folder / "model.safetensors")
    weight, bias = (tensors[f"cls.seq_relationship.{name}"] for name in ("weight", "bias"))
    model = BertModel.from_pretrained(folder, dtype=dtype)
    for case in published:
        output = model([case["input_ids"]], token_type_ids=[case["token_type_ids"]])
        assert output.pooler_output is not None
        logits = output.pooler_output @ weight.T + bias
        near(logits[0], case["seq_relationship_logits"], GOLDEN[dtype])


@pytest.mark.network
def test_every_printed_number(notebook: Any) -> None:
    tokenizer = BertTokenizer.from_pretrained("bert-base-uncased")
    model = BertModel.from_pretrained("bert-base-uncased")
    inputs = tokenizer(TEXT, return_tensors="np")
    assert inputs["input_ids"].tolist() == notebook["input_ids"]
    steps = dict(
        named_steps(
            model.embeddings.steps(inputs["input_ids"], inputs["token_type_ids"]), "embeddings"
        )
    )
    for name, printed in notebook["steps"].items():
        corner = steps[name][0][np.ix_(notebook["rows"], notebook["columns"])]
        values = np.array(printed["values"])
        budget = np.vectorize(lambda v, p=printed["printed_digits"]: digits(v, p))(values)
        assert (np.abs(corner - values) <= budget * 1.001).all(), name


@pytest.mark.network
def test_googles_embedding_output(data: Path) -> None:
    folder = data / "bert_base_uncased_golden"
    golden = json.loads((folder / "rbert_golden.json").read_text("utf-8"))["sequences"]
    arrays = np.load(folder / "rbert_golden.npz")
    model = BertModel.from_pretrained("bert-base-uncased")
    checked = 0
    for number, sequence in golden.items():
        ids = np.array([sequence["input_ids"]])
        output = model.embeddings(ids, np.array([sequence["token_type_ids"]]))
        assert np.abs(output[0] - arrays[f"seq{number}_hidden_0"]).max() < 1e-5
        checked += 1
    assert checked == 2


@pytest.mark.network
def test_googles_last_layers_and_their_attention(data: Path) -> None:
    folder = data / "bert_base_uncased_golden"
    golden = json.loads((folder / "rbert_golden.json").read_text("utf-8"))["sequences"]
    arrays = np.load(folder / "rbert_golden.npz")
    published = BertModel.from_pretrained("bert-base-uncased")
    # RBERT, as Google's later code, computes "gelu" by tanh (R/modeling.R).
    config = dataclasses.replace(published.config, hidden_act="gelu_new")
    model = BertModel(config, published.parameters, published.loading_info)
    for number, sequence in golden.items():
        output = model(
            [sequence["input_ids"]],
            token_type_ids=[sequence["token_type_ids"]],
            output_hidden_states=True,
            output_attentions=True,
        )
        assert output.hidden_states is not None
        assert output.attentions is not None
        for layer in (9, 10, 11, 12):
            near(output.hidden_states[layer][0], arrays[f"seq{number}_hidden_{layer}"], GOOGLE)
            weights = output.attentions[layer - 1][0]
            near(weights, arrays[f"seq{number}_attention_{layer}"], GOOGLE)

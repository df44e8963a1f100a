"""numpy_bert.parameters: one tree that is both the parameters' home and the table of their keys."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from numpy_bert import parameters as parameters_module
from numpy_bert.arrays import StoredArray
from numpy_bert.config import BertConfig
from numpy_bert.loading.cache import demo_folder
from numpy_bert.loading.checkpoint import open_checkpoint
from numpy_bert.parameters import (
    TIED,
    BertEmbeddingsParameters,
    BertParameters,
    BertPoolerParameters,
    BertPreTrainingHeadsParameters,
    LinearParameters,
    arrays_of,
    build,
    pretraining_shapes,
    shapes,
)
from tests.support.checkpoints import TINY, random_tensors

CONFIG = BertConfig.from_dict(TINY)
V, P, S, H, I = 61, 19, 3, 24, 37  # noqa: E741

# Written out once more, from transformers' BertForPreTraining.
EMBEDDINGS = {
    "embeddings.word_embeddings.weight": (V, H),
    "embeddings.position_embeddings.weight": (P, H),
    "embeddings.token_type_embeddings.weight": (S, H),
    "embeddings.LayerNorm.weight": (H,),
    "embeddings.LayerNorm.bias": (H,),
}
LAYER = {
    "attention.self.query.weight": (H, H),
    "attention.self.query.bias": (H,),
    "attention.self.key.weight": (H, H),
    "attention.self.key.bias": (H,),
    "attention.self.value.weight": (H, H),
    "attention.self.value.bias": (H,),
    "attention.output.dense.weight": (H, H),
    "attention.output.dense.bias": (H,),
    "attention.output.LayerNorm.weight": (H,),
    "attention.output.LayerNorm.bias": (H,),
    "intermediate.dense.weight": (I, H),
    "intermediate.dense.bias": (I,),
    "output.dense.weight": (H, I),
    "output.dense.bias": (H,),
    "output.LayerNorm.weight": (H,),
    "output.LayerNorm.bias": (H,),
}
POOLER = {"pooler.dense.weight": (H, H), "pooler.dense.bias": (H,)}
HEADS = {
    "cls.predictions.transform.dense.weight": (H, H),
    "cls.predictions.transform.dense.bias": (H,),
    "cls.predictions.transform.LayerNorm.weight": (H,),
    "cls.predictions.transform.LayerNorm.bias": (H,),
    "cls.predictions.bias": (V,),
    "cls.seq_relationship.weight": (2, H),
    "cls.seq_relationship.bias": (2,),
}


def layers(count: int) -> dict[str, tuple[int, ...]]:
    return {f"encoder.layer.{i}.{key}": LAYER[key] for i in range(count) for key in LAYER}


@pytest.mark.parametrize("count", [1, 2, 11])
def test_the_table_is_that_of_transformers(count: int) -> None:
    config = dataclasses.replace(CONFIG, num_hidden_layers=count)
    model = EMBEDDINGS | layers(count) | POOLER
    assert list(shapes(BertParameters, config).items()) == list(model.items())
    assert list(pretraining_shapes(config).items()) == list((model | HEADS).items())


def test_a_part_of_the_table_hangs_where_it_is_told() -> None:
    assert shapes(BertEmbeddingsParameters, CONFIG, "embeddings.") == EMBEDDINGS
    assert shapes(BertPreTrainingHeadsParameters, CONFIG, "cls.") == HEADS
    assert shapes(BertPoolerParameters, CONFIG) == {"dense.weight": (H, H), "dense.bias": (H,)}


def test_what_is_tied() -> None:  # B13, B14
    assert TIED == {
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    assert TIED.keys().isdisjoint(pretraining_shapes(CONFIG))


def test_the_demo_has_every_key_and_no_other() -> None:
    config = BertConfig.from_json_file(demo_folder() / "config.json")
    stored = open_checkpoint(demo_folder()).tensors
    expected = pretraining_shapes(config)
    assert {key: tensor.shape for key, tensor in stored.items()} == expected


def test_what_is_built_is_found_at_its_path() -> None:
    tensors = random_tensors()
    parameters = build(BertParameters, CONFIG, tensors.__getitem__, "")
    assert parameters.encoder is not None
    assert len(parameters.encoder.layer) == 2
    layer = parameters.encoder.layer[1]
    pairs: list[tuple[StoredArray, str]] = [
        (parameters.embeddings.word_embeddings.weight, "embeddings.word_embeddings.weight"),
        (parameters.embeddings.LayerNorm.bias, "embeddings.LayerNorm.bias"),
        (layer.attention.self.query.weight, "encoder.layer.1.attention.self.query.weight"),
        (
            layer.attention.output.LayerNorm.weight,
            "encoder.layer.1.attention.output.LayerNorm.weight",
        ),
        (layer.output.dense.bias, "encoder.layer.1.output.dense.bias"),
    ]
    for array, key in pairs:
        assert array is tensors[key]
    assert parameters.pooler is not None
    assert parameters.pooler.dense.weight is tensors["pooler.dense.weight"]


def test_arrays_come_out_as_they_went_in() -> None:
    tensors = random_tensors()
    found = dict(arrays_of(build(BertParameters, CONFIG, tensors.__getitem__, "")))
    assert list(found) == list(shapes(BertParameters, CONFIG))
    assert all(found[key] is tensors[key] for key in tensors)


def test_a_part_is_built_of_its_own_keys_only() -> None:
    tensors = {key: array for key, array in random_tensors().items() if key in EMBEDDINGS}
    part = build(BertEmbeddingsParameters, CONFIG, tensors.__getitem__, "embeddings.")
    assert [key for key, _ in arrays_of(part, "embeddings.")] == list(EMBEDDINGS)
    with pytest.raises(KeyError, match=r"encoder\.layer\.0"):
        build(BertParameters, CONFIG, tensors.__getitem__, "")


def test_the_heads_are_built_too() -> None:
    tensors = random_tensors(heads=True)
    heads = build(BertPreTrainingHeadsParameters, CONFIG, tensors.__getitem__, "cls.")
    assert heads.predictions.bias is tensors["cls.predictions.bias"]
    assert heads.seq_relationship.weight is tensors["cls.seq_relationship.weight"]
    assert [key for key, _ in arrays_of(heads, "cls.")] == list(HEADS)


def test_a_missing_pooler_has_no_arrays() -> None:
    tensors = random_tensors()
    whole = build(BertParameters, CONFIG, tensors.__getitem__, "")
    without = dataclasses.replace(whole, pooler=None)
    assert [key for key, _ in arrays_of(without)] == list(EMBEDDINGS | layers(2))


CLASSES: list[Any] = [
    kind
    for kind in vars(parameters_module).values()
    if dataclasses.is_dataclass(kind) and kind is not BertConfig
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_every_class_of_the_tree_is_of_one_make(kind: Any) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    made = kind(**dict.fromkeys(names))
    assert list(kind.__slots__) == names
    assert not hasattr(made, "__dict__")
    assert made != kind(**dict.fromkeys(names))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, names[0], 1)
    with pytest.raises(TypeError, match="positional"):
        kind(*names)


def test_parameters_are_neither_changed_nor_mistaken_for_numbers() -> None:
    weight, bias = np.ones((2, 3)), np.zeros(2)
    linear = LinearParameters(weight=weight, bias=bias)
    with pytest.raises(dataclasses.FrozenInstanceError):
        linear.weight = bias  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        linear.gamma = weight  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        LinearParameters(weight, bias)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        np.ones(2) + linear  # type: ignore[operator]
    assert linear != LinearParameters(weight=weight, bias=bias)


def test_the_shared_table_of_shapes_cannot_be_changed() -> None:
    table: Any = shapes(BertPoolerParameters, CONFIG)
    with pytest.raises(TypeError):
        table["dense.weight"] = (1, 1)
    with pytest.raises(AttributeError):
        table.clear()
    assert shapes(BertPoolerParameters, CONFIG) == {"dense.weight": (H, H), "dense.bias": (H,)}


def test_an_untied_decoder_is_in_the_table() -> None:
    config = dataclasses.replace(CONFIG, tie_word_embeddings=False)
    decoder = {"cls.predictions.decoder.weight": (V, H), "cls.predictions.decoder.bias": (V,)}
    assert shapes(BertPreTrainingHeadsParameters, config, "cls.") == HEADS | decoder

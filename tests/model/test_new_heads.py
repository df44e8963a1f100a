"""Three heads that the package does not have, as a newcomer would write them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pytest

from numpy_bert.architectures import ARCHITECTURES, HeadRules
from numpy_bert.arrays import Array, IntArray
from numpy_bert.blocks.heads import (
    Activation,
    Dense,
    Dropout,
    HeadCall,
    Layer,
    LayerGradients,
    LayerNorm,
    OnlyMLMSteps,
    Words,
    run_layers,
    run_layers_backward,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, ConfigError, InputError
from numpy_bert.model.bert import BertModel
from numpy_bert.model.family_heads import REPLACED_TOKENS, head_of
from numpy_bert.model.heads import (
    FOLLOWS,
    HEADS,
    MASKED_LM,
    SEQUENCE,
    Chain,
    Head,
    Loss,
)
from numpy_bert.model.outputs import (
    BertForPreTrainingOutput,
    BertSteps,
    HeadOutput,
    PreTrainingSteps,
)
from numpy_bert.model.with_head import BertWithDecoder, BertWithHead
from numpy_bert.ops.dropout import DropoutSteps
from numpy_bert.parameters import (
    BertParameters,
    LayerNormParameters,
    LinearParameters,
    MaskedLMParameters,
    PreTrainingParameters,
    arrays_of,
    build,
    shapes,
)
from numpy_bert.tasks.items import Items
from numpy_bert.tasks.objectives import Objective, sequence_objective
from numpy_bert.trace import named_steps
from tests.support.checkpoints import Tensors, write_checkpoint
from tests.support.differences import differences, relative_error, slope
from tests.support.heads import CONFIG

# A classifier as RoBERTa has it: dropout, dense, tanh, dropout, dense, over the first token.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TwoLayers:
    dense: Annotated[LinearParameters, "H H"]
    out_proj: Annotated[LinearParameters, "K H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenParameters:
    classifier: TwoLayers


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TwoLayersSteps:
    dropout: DropoutSteps
    dense: Array
    tanh: Array
    second_dropout: DropoutSteps
    out_proj: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenSteps:
    bert: BertSteps
    classifier: TwoLayersSteps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirstTokenOutput(HeadOutput):
    logits: Array


FIRST_TOKEN = Head(
    parameters=FirstTokenParameters,
    output=FirstTokenOutput,
    steps=FirstTokenSteps,
    chains=(
        Chain(
            reads="first",
            layers=(
                Dropout("classifier.dropout"),
                Dense("classifier.dense"),
                Activation("classifier.tanh", "tanh"),
                Dropout("classifier.second_dropout"),
                Dense("classifier.out_proj"),
            ),
            loss=SEQUENCE,
        ),
    ),
)


class BertForFirstToken(BertWithHead[FirstTokenOutput, FirstTokenSteps]):
    kind = FIRST_TOKEN


# SPLADE: of each word the largest score of all tokens, as log(1 + relu(score)).


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LargestSteps:
    places: IntArray
    output: Array


@dataclass(frozen=True, slots=True)
class LargestOfTokens(Layer):
    """The largest of the tokens' scores, padding left out."""

    def forward(self, call: HeadCall, x: Array) -> LargestSteps:
        if call.mask is not None:
            x = np.where(call.mask[..., np.newaxis], x, x.dtype.type(-np.inf))
        places = x.argmax(axis=1)[:, np.newaxis]  # (B, 1, V)
        return LargestSteps(places=places, output=np.take_along_axis(x, places, axis=1)[:, 0])

    def backward(self, call: HeadCall, x: Array, step: LargestSteps, grad: Array) -> LayerGradients:
        back = np.zeros_like(x)
        np.put_along_axis(back, step.places, grad[:, np.newaxis], axis=1)
        return LayerGradients(back)


@dataclass(frozen=True, slots=True)
class Saturation(Layer):
    """log(1 + relu(x))."""

    def forward(self, call: HeadCall, x: Array) -> Array:
        return np.log1p(np.maximum(x, 0.0))

    def backward(self, call: HeadCall, x: Array, step: Array, grad: Array) -> LayerGradients:
        slopes: Array = np.where(x > 0, grad / (1.0 + np.maximum(x, 0.0)), 0.0)
        return LayerGradients(slopes.astype(grad.dtype, copy=False))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SpladeSteps:
    bert: BertSteps
    cls: OnlyMLMSteps
    largest: LargestSteps
    saturated: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SpladeOutput(HeadOutput):
    weights: Array


def judge_numbers(
    scores: Array, labels: Mapping[str, Any], call: HeadCall, items: Items | None
) -> Objective:
    return sequence_objective(scores, *labels.values(), problem_type="regression")


def count_numbers(
    name: str, labels: npt.ArrayLike, given: Mapping[str, Any], config: BertConfig
) -> int:
    return np.size(labels)


NUMBERS = Loss(judge=judge_numbers, count=count_numbers)
SPLADE = Head(
    parameters=MaskedLMParameters,
    output=SpladeOutput,
    steps=SpladeSteps,
    chains=(
        Chain(
            reads="tokens",
            layers=(Words("cls.predictions"), LargestOfTokens("largest"), Saturation("saturated")),
            loss=NUMBERS,
        ),
    ),
)


class BertForSplade(BertWithDecoder[SpladeOutput, SpladeSteps]):
    kind = SPLADE


# A projection of the first token's hidden state, as DPR has it.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectionParameters:
    encode_proj: Annotated[LinearParameters, "11 H"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectionSteps:
    bert: BertSteps
    encode_proj: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectionOutput(HeadOutput):
    embedding: Array


PROJECTION = Head(
    parameters=ProjectionParameters,
    output=ProjectionOutput,
    steps=ProjectionSteps,
    chains=(
        Chain(reads="first", layers=(Dense("encode_proj"),), loss=NUMBERS, targets=("teacher",)),
    ),
)


class BertForProjection(BertWithHead[ProjectionOutput, ProjectionSteps]):
    kind = PROJECTION


# What they are held to.

MODELS: tuple[Any, ...] = (BertForFirstToken, BertForSplade, BertForProjection)
V = CONFIG["vocab_size"]
WIDTHS = {BertForFirstToken: 5, BertForSplade: V, BertForProjection: 11}
IDS = np.random.default_rng(0).integers(5, V, (3, 7))
MASK = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
PADDED = {"input_ids": IDS, "attention_mask": MASK}
NAMES = {
    BertForFirstToken: [
        "classifier.dropout",
        "classifier.dense",
        "classifier.tanh",
        "classifier.second_dropout",
        "classifier.out_proj",
    ],
    BertForSplade: ["cls.predictions", "largest.places", "largest", "saturated"],
    BertForProjection: ["encode_proj"],
}
every_model = pytest.mark.parametrize("model", MODELS)


def tensors_of(model: Any, *, pooler: bool = False) -> Tensors:
    """Return tensors of the size of trained ones; a pooler only where it is asked for."""
    sizes, rng = BertConfig.from_dict(CONFIG), np.random.default_rng(0)
    table = shapes(BertParameters, sizes) | shapes(model.kind.parameters, sizes)
    return {
        key: rng.standard_normal(shape) * 0.2 + key.endswith("LayerNorm.weight")
        for key, shape in table.items()
        if pooler or not key.startswith("pooler.")
    }


def load(folder: Path, model: Any, tensors: Tensors | None = None, dtype: str = "float64") -> Any:
    found = tensors_of(model) if tensors is None else tensors
    return model.from_pretrained(write_checkpoint(folder, found, CONFIG), dtype=dtype)


def labels_of(model: Any) -> dict[str, Any]:
    if model is BertForFirstToken:
        return {"labels": [4, 0, 2]}
    numbers = np.random.default_rng(2).random((3, WIDTHS[model]))
    return {model.kind.targets[0]: numbers}


@every_model
def test_a_call_leaves_padding_out_or_computes_it(model: Any, tmp_path: Path, dtype: str) -> None:
    loaded = load(tmp_path, model, dtype=dtype)
    assert loaded.bert.parameters.pooler is None
    atol = 1e-12 if dtype == "float64" else 2e-6
    [scores] = loaded(**PADDED).scores
    assert scores.shape == (3, WIDTHS[model])
    assert scores.dtype == dtype
    [full] = loaded(**PADDED, unpad_inputs=False).scores
    np.testing.assert_allclose(full, scores, rtol=0, atol=atol)
    for row, mask in enumerate(MASK[:2]):  # whose padding is behind the tokens
        [alone] = loaded(IDS[row : row + 1, : mask.sum()]).scores
        np.testing.assert_allclose(alone[0], scores[row], rtol=0, atol=atol)
    with pytest.raises(TypeError, match="unexpected keyword argument 'start_positions'"):
        loaded(IDS, start_positions=[1])


@every_model
def test_labels_add_a_loss_and_change_nothing(model: Any, tmp_path: Path, dtype: str) -> None:
    loaded, labels = load(tmp_path, model, dtype=dtype), labels_of(model)
    for given in (PADDED, {"input_ids": IDS}):
        plain, output = loaded(**given), loaded(**given, **labels)
        assert plain.scores[0].tobytes() == output.scores[0].tobytes()
        assert output[0] == output.loss
        assert output.keys() == ("loss", *plain.keys())
        found = loaded.loss_and_gradients({**given, **labels})
        assert output.loss == pytest.approx(found.loss, rel=1e-5 if dtype == "float32" else 1e-12)
    count = loaded.num_items_in_batch({**PADDED, **labels})
    assert count == {model.kind.targets[0]: np.size(next(iter(labels.values())))}


@every_model
def test_states_and_attentions_come_last(model: Any, tmp_path: Path, dtype: str) -> None:
    loaded = load(tmp_path, model, dtype=dtype)
    output = loaded(**PADDED, output_hidden_states=True, output_attentions=True)
    assert output.keys()[1:] == ("hidden_states", "attentions")
    assert [state.shape for state in output.hidden_states] == [(3, 7, 24)] * 3
    assert [weights.shape for weights in output.attentions] == [(3, 4, 7, 7)] * 2
    [plain] = loaded(**PADDED).scores  # of which the last layer may have computed a row alone
    atol = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(output.scores[0], plain, rtol=0, atol=atol)


@every_model
def test_float32_is_float64_but_for_rounding(model: Any, tmp_path: Path) -> None:
    tensors = {key: array.astype("f4") for key, array in tensors_of(model).items()}
    wide, narrow = (load(tmp_path / d, model, tensors, d) for d in ("float64", "float32"))
    np.testing.assert_allclose(
        narrow(**PADDED).scores[0], wide(**PADDED).scores[0], rtol=0, atol=1e-5
    )
    batch = {**PADDED, **labels_of(model)}
    slow, fast = (dict(m.loss_and_gradients(batch).named()) for m in (wide, narrow))
    largest = max(float(np.abs(array).max()) for array in slow.values())
    assert slow.keys() == fast.keys()
    for key, array in slow.items():
        assert fast[key].dtype == np.float32
        assert float(np.abs(fast[key] - array).max()) < 1e-4 * largest, key


@every_model
def test_steps_bear_the_paths_of_the_layers(model: Any, tmp_path: Path) -> None:
    loaded = load(tmp_path, model)
    steps = loaded.steps(**PADDED)
    names = dict(named_steps(steps, ""))
    head = [name for name in names if not name.startswith(("bert.", "cls.predictions.transform"))]
    assert head == NAMES[model]
    [scores] = loaded(**PADDED).scores
    np.testing.assert_allclose(names[head[-1]], scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("drops", [False, True])
@every_model
def test_the_gradient_is_the_slope_of_the_loss(model: Any, drops: bool, tmp_path: Path) -> None:
    loaded, batch = load(tmp_path, model), {**PADDED, **labels_of(model)}
    arrays = dict(loaded.named_parameters())

    def found(step: float, along: Mapping[str, Array]) -> Any:
        moved = {key: array + step * along.get(key, 0.0) for key, array in arrays.items()}
        rng = np.random.default_rng(5) if drops else None
        return loaded.with_parameters(moved).loss_and_gradients(batch, rng=rng)

    gradients = dict(found(0.0, {}).named())
    assert set(gradients) == set(arrays)
    random = np.random.default_rng(1)
    directions = [
        {key: random.standard_normal(array.shape) for key, array in arrays.items()},
        {  # the head's own alone, which the model's many would hide
            key: random.standard_normal(array.shape)
            for key, array in arrays.items()
            if not key.startswith("bert.")
        },
    ]
    for along in directions:
        expected = sum(float((gradients[key] * part).sum()) for key, part in along.items())
        assert expected
        measured = slope(lambda step, along=along: found(step * 0.01, along).loss) / 0.01  # type: ignore[misc]
        assert measured == pytest.approx(expected, rel=1e-6)


@every_model
def test_a_model_is_saved_copied_and_changed(model: Any, tmp_path: Path, dtype: str) -> None:
    loaded = load(tmp_path / "first", model, tensors_of(model, pooler=True), dtype)
    expected = loaded(**PADDED).scores[0].tobytes()
    assert not any("pooler" in name for name, _ in loaded.named_parameters())
    loaded.save_pretrained(tmp_path / "second")
    others = [
        model.from_pretrained(tmp_path / "second", dtype=dtype),
        copy.deepcopy(loaded),
        pickle.loads(pickle.dumps(loaded)),
        loaded.with_parameters(dict(loaded.named_parameters())),
    ]
    assert others[0].loading_info.unexpected_keys == ()
    for other in others:
        assert type(other) is model
        assert other(**PADDED).scores[0].tobytes() == expected
        assert other.config.num_labels == 5


def test_the_rows_of_a_classifier_say_how_many_labels_there_are(tmp_path: Path) -> None:
    config = {**CONFIG, "id2label": {str(n): f"label {n}" for n in range(5)}}
    del config["num_labels"]
    folder = write_checkpoint(tmp_path, tensors_of(BertForFirstToken), config)
    loaded = BertForFirstToken.from_pretrained(folder, dtype="float64")
    assert loaded.config.labels == tuple(f"label {n}" for n in range(5))
    unnamed = {key: value for key, value in config.items() if key != "id2label"}
    write_checkpoint(tmp_path, tensors_of(BertForFirstToken), unnamed)
    with pytest.raises(
        ConfigError, match=r"the classifier has 5 rows, config.json names no labels"
    ):
        BertForFirstToken.from_pretrained(folder)


@every_model
def test_a_wrong_key_is_named(model: Any, tmp_path: Path) -> None:
    tensors, own = tensors_of(model), list(shapes(model.kind.parameters, BertConfig()))
    key = own[-1]
    wrong = key.replace("weight", "wieght").replace("bias", "bais")
    misspelt = {wrong if name == key else name: array for name, array in tensors.items()}
    with pytest.raises(CheckpointError, match=rf"missing +{key}\n  unknown +{wrong} +\(did you"):
        load(tmp_path / "1", model, misspelt)
    narrow = {**tensors, key: tensors[key][..., :-1]}
    with pytest.raises(CheckpointError, match=f"{key} is .* config.json says"):
        load(tmp_path / "2", model, narrow)
    none = {name: array for name, array in tensors.items() if name not in own}
    with pytest.raises(CheckpointError, match=rf"has no [a-z_.]+ \({own[0]}"):
        load(tmp_path / "3", model, none)


@pytest.mark.parametrize("model", [BertForFirstToken, BertForProjection])
def test_the_first_token_alone_is_computed(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, asked = load(tmp_path, model, dtype="float32"), list[Any]()
    real = BertModel.hidden_at

    def spy(self: BertModel, inputs: Any, places: IntArray) -> Array:
        asked.append(places.tolist())
        return real(self, inputs, places)

    monkeypatch.setattr(BertModel, "hidden_at", spy)
    loaded(**PADDED)
    assert asked == [[0, 7, 14]]
    with pytest.raises(InputError, match="sequence of 0 tokens has no first one"):
        loaded(np.empty((2, 0), np.int64))


@pytest.mark.parametrize("model", [BertForFirstToken, BertForProjection])
def test_a_first_token_that_is_padding_is_computed_for_a_loss(model: Any, tmp_path: Path) -> None:
    loaded, labels = load(tmp_path, model), labels_of(model)
    left = {"input_ids": IDS, "attention_mask": MASK[:, ::-1]}
    output = loaded(**left, **labels)
    assert output.loss == pytest.approx(loaded(**left, **labels, unpad_inputs=False).loss)
    assert output.scores[0].tobytes() == loaded(**left).scores[0].tobytes()


def test_a_sparse_vector_does_not_depend_on_padding(tmp_path: Path) -> None:
    loaded = load(tmp_path, BertForSplade)
    weights = loaded(**PADDED).weights
    assert (weights >= 0).all()
    assert (weights == 0).any()
    other = np.where(MASK, IDS, 5 + (IDS + 1) % 9)
    again = loaded(input_ids=other, attention_mask=MASK).weights
    np.testing.assert_array_equal(again, weights)


def test_a_weight_of_a_head_that_is_not_finite_is_named(tmp_path: Path) -> None:
    tensors = tensors_of(BertForFirstToken)
    tensors["classifier.out_proj.weight"][3, 2] = np.nan
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj\.weight\[3, 2\] = nan"):
        load(tmp_path / "1", BertForFirstToken, tensors)(IDS)
    tensors = tensors_of(BertForFirstToken)
    tensors["classifier.out_proj.weight"] *= 1e308
    with pytest.raises(CheckpointError, match=r"so large that classifier\.out_proj overflows"):
        load(tmp_path / "2", BertForFirstToken, tensors)(IDS)


# The layers that none of the three has, and those whose settings are their own.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NormParameters:
    dense: Annotated[LinearParameters, "5 H"]
    norm: Annotated[LayerNormParameters, "5"]


@pytest.mark.parametrize("eps", [None, 0.3])
def test_layers_go_back_as_they_came(eps: float | None) -> None:
    rng, config = np.random.default_rng(0), BertConfig.from_dict(CONFIG | {"hidden_act": "silu"})
    table = shapes(NormParameters, config)
    own = build(NormParameters, config, lambda key: rng.standard_normal(table[key]), "")
    call = HeadCall(own, config)
    layers = (
        Dense("dense"),
        Activation("act"),
        Activation("tanh", "tanh"),
        LayerNorm("norm", eps=eps),
    )
    x, grad = rng.standard_normal((3, 24)), rng.standard_normal((3, 5))

    def value(x: Array) -> float:
        return float((run_layers(layers, call, x)["norm"].output * grad).sum())

    steps = run_layers(layers, call, x)
    found = run_layers_backward(layers, call, x, steps, grad)
    assert relative_error(found.x, differences(value, x)) < 1e-8
    assert set(found.parameters) == {"dense", "norm"}

    def of_weight(weight: Array) -> float:
        moved = replace(own, dense=replace(own.dense, weight=weight))
        steps = run_layers(layers, call._replace(parameters=moved), x)
        return float((steps["norm"].output * grad).sum())

    expected = differences(of_weight, own.dense.weight)
    assert relative_error(found.parameters["dense"].weight, expected) < 1e-8
    active = np.tanh(run_layers(layers[:2], call, x)["act"])
    centred = active - active.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + (1e-12 if eps is None else eps))
    right = centred / spread * own.norm.weight + own.norm.bias
    np.testing.assert_allclose(steps["norm"].output, right, rtol=0, atol=1e-12)


def test_dropout_has_the_configs_rate_or_its_own() -> None:
    x, rng = np.ones((50, 40)), np.random.default_rng
    own: dict[str, Any]
    for values, own, expected in (
        ({"hidden_dropout_prob": 0.25}, {}, 0.25),
        ({"classifier_dropout": 0.5}, {}, 0.5),
        ({"classifier_dropout": 0.0, "hidden_dropout_prob": 0.25}, {}, 0.0),
        ({"classifier_dropout": 0.5}, {"p": 0.75}, 0.75),
        ({"classifier_dropout": 0.5}, {"p": "hidden_dropout_prob"}, 0.1),
        ({"attention_probs_dropout_prob": 0.3}, {"p": "attention_probs_dropout_prob"}, 0.3),
    ):
        call = HeadCall(None, BertConfig.from_dict(CONFIG | values), rng=rng(0))
        layers = [Dropout("drop", **own)]
        steps = run_layers(layers, call, x)
        output = steps["drop"].output
        assert output.max() == 1 / (1 - expected)
        assert float((output == 0).mean()) == pytest.approx(expected, abs=0.03)
        np.testing.assert_array_equal(run_layers_backward(layers, call, x, steps, x).x, output)


# Words of all tokens and an order that is read off the first: two chains over one hidden state.
JOINED = Head(
    parameters=PreTrainingParameters,
    output=BertForPreTrainingOutput,
    steps=PreTrainingSteps,
    chains=(
        MASKED_LM.chains[0],
        Chain(
            reads="first",
            layers=(Dense("cls.seq_relationship"),),
            loss=FOLLOWS,
            targets=("next_sentence_label",),
        ),
    ),
)


class BertForJoined(BertWithDecoder[BertForPreTrainingOutput, PreTrainingSteps]):
    kind = JOINED


def test_two_chains_can_read_the_hidden_state(tmp_path: Path) -> None:
    loaded = load(tmp_path, BertForJoined)
    words = np.where(MASK * (IDS % 2), IDS, -100)
    batch = {**PADDED, "labels": words, "next_sentence_label": [0, 1, 1]}
    found = loaded.loss_and_gradients(batch)
    assert found.loss == pytest.approx(loaded(**batch).loss, rel=1e-12)
    arrays, random = dict(loaded.named_parameters()), np.random.default_rng(1)
    gradients = dict(found.named())
    along = {key: random.standard_normal(array.shape) for key, array in arrays.items()}
    along["bert.embeddings.word_embeddings.weight"][0] = 0.0

    def loss(step: float) -> float:
        moved = {key: array + step * along[key] for key, array in arrays.items()}
        return float(loaded.with_parameters(moved).loss_and_gradients(batch).loss)

    expected = sum(float((gradients[key] * part).sum()) for key, part in along.items())
    assert slope(lambda step: loss(step * 0.01)) / 0.01 == pytest.approx(expected, rel=1e-6)


def test_two_layers_of_one_name_are_refused() -> None:
    chain = replace(FIRST_TOKEN.chains[0], layers=(Dropout("drop"), Dropout("drop", 0.5)))
    with pytest.raises(InputError, match=r"^Head: the names of layers must differ.*got drop more"):
        replace(FIRST_TOKEN, chains=(chain,))


def test_gradients_stand_where_the_parameters_do(tmp_path: Path) -> None:
    found = load(tmp_path, BertForSplade).loss_and_gradients({**PADDED, **labels_of(BertForSplade)})
    assert type(found.head) is MaskedLMParameters
    assert "cls.predictions.transform.dense.weight" in dict(arrays_of(found.head))
    assert found.bert.pooler is None


# The heads that are BERT's in another architecture.


def test_padding_is_not_computed_for_the_loss_of_replaced_tokens() -> None:
    mask, labels = np.array([[True, True, False]]), {"labels": np.array([[0, 1, 1]])}
    assert not REPLACED_TOKENS.judges_padding(labels, mask)
    assert HEADS["ForTokenClassification"].judges_padding(labels, mask)
    assert REPLACED_TOKENS.items(labels, {"attention_mask": mask}, BertConfig()) == {"labels": 2}


@pytest.mark.parametrize(
    ("kind", "end"), [(kind, end) for kind, entry in ARCHITECTURES.items() for end in entry.heads]
)
def test_an_architectures_head_is_whole(kind: str, end: str) -> None:
    """Its layers have the parameters that its class has, and make the steps that its class has."""
    head, config = head_of(kind, end), BertConfig(model_type=kind, vocab_size=61)
    assert head is head_of(kind, end)
    assert (head is HEADS[end]) == (ARCHITECTURES[kind].heads[end] == HeadRules())
    sizes = shapes(head.parameters, config)  # type: ignore[arg-type]
    layers = [layer for chain in head.chains for layer in chain.layers]
    owners = {layer.name for layer in layers if isinstance(layer, (Dense, Words))}
    assert {key for key in sizes if key.startswith(tuple(f"{name}." for name in owners))} == {
        *sizes
    }
    named = head.named(None, {layer.name: np.zeros(1) for layer in layers})
    assert len(list(named_steps(named, ""))) == len(layers)
    rates = [layer.p for layer in layers if isinstance(layer, Dropout)]
    assert all(hasattr(config, str(rate)) for rate in rates)

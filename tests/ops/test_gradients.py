"""Every backward against central differences in float64, and its dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from numpy_bert.arrays import Array
from numpy_bert.encoding.pooling import MODES
from numpy_bert.encoding.pooling import pool as pooled_alone
from numpy_bert.errors import InputError
from numpy_bert.ops.activation import ACTIVATIONS
from numpy_bert.ops.attention import attention, attention_backward
from numpy_bert.ops.distillation import cosine_embedding_loss, similarity_preserving_loss
from numpy_bert.ops.dropout import draw_keep, dropout, dropout_backward
from numpy_bert.ops.embedding import embedding, embedding_backward
from numpy_bert.ops.layer_norm import layer_norm, layer_norm_backward
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.ops.losses import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from numpy_bert.ops.normalize import normalize, normalize_backward
from numpy_bert.ops.pairs import (
    cosent_loss,
    cosine_similarity_loss,
    multiple_negatives_ranking_loss,
)
from numpy_bert.ops.pooling import pooling, pooling_backward
from numpy_bert.ops.relative_position import (
    relative_attention_bias,
    relative_attention_bias_backward,
)
from numpy_bert.ops.softmax import softmax, softmax_backward
from tests.support.differences import differences, relative_error

BUDGET = 1e-7


def drawn(*shape: int, seed: int = 0) -> Array:
    array = np.random.default_rng(seed).standard_normal(shape)
    array.flags.writeable = False
    return array


def weights_for(arguments: Mapping[str, Array], forward: Callable[..., Array]) -> Array:
    """Return random numbers for each of the output's: the gradient that comes back to it."""
    return drawn(*forward(**arguments).shape, seed=9)


def hold(
    forward: Callable[..., Array], backward: Mapping[str, Array], arguments: Mapping[str, Array]
) -> None:
    """Compare gradients of the output's sum, each number weighted, with differences."""
    weights = weights_for(arguments, forward)
    for name, found in backward.items():

        def value(moved: Array, name: str = name) -> float:
            return float((forward(**{**arguments, name: moved}) * weights).sum())

        expected = differences(value, arguments[name])
        assert found.shape == arguments[name].shape
        assert relative_error(found, expected) < BUDGET, name


def test_linear() -> None:
    given = {"x": drawn(2, 3, 5), "weight": drawn(4, 5, seed=1), "bias": drawn(4, seed=2)}
    grad = weights_for(given, linear)
    found = linear_backward(grad, given["x"], given["weight"])
    hold(linear, {"x": found.x, "weight": found.weight, "bias": found.bias}, given)


@pytest.mark.parametrize("eps", [1e-12, 0.3])
def test_layer_norm(eps: float) -> None:
    def forward(**given: Array) -> Array:
        return layer_norm(given["x"], given["weight"], given["bias"], eps=eps).output

    given = {"x": drawn(2, 3, 7), "weight": drawn(7, seed=1), "bias": drawn(7, seed=2)}
    steps = layer_norm(given["x"], given["weight"], given["bias"], eps=eps)
    found = layer_norm_backward(weights_for(given, forward), steps, given["weight"])
    hold(forward, {"x": found.x, "weight": found.weight, "bias": found.bias}, given)


def test_softmax() -> None:
    x = drawn(3, 5)
    found = softmax_backward(drawn(3, 5, seed=9), softmax(x))
    hold(softmax, {"x": found}, {"x": x})


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    def forward(x: Array) -> Array:
        return ACTIVATIONS[name].forward(x)

    x = np.concatenate([drawn(40), np.linspace(-12, 12, 33) + 0.11])  # at no kink
    found = ACTIVATIONS[name].backward(drawn(73, seed=9), x)
    hold(forward, {"x": found}, {"x": x})


# The slopes far below 0, at 0 and far above.
SLOPES = {
    **dict.fromkeys(("gelu", "gelu_new", "hardswish", "quick_gelu", "silu"), (0.0, 0.5, 1.0)),
    "gelu_10": (0.0, 0.5, 0.0),
    "laplace": (0.0, 0.06111383, 0.0),
    "leaky_relu": (0.01, 0.01, 1.0),
    "linear": (1.0, 1.0, 1.0),
    "mish": (0.0, 0.6, 1.0),
    "relu": (0.0, 0.0, 1.0),
    "relu6": (0.0, 0.0, 0.0),
    "sigmoid": (0.0, 0.25, 0.0),
    "tanh": (0.0, 1.0, 0.0),
}


FAR = [-np.inf, -1e30, -100.0, 0.0, 100.0, 1e30, np.inf]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_slope_is_nan(name: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        found = ACTIVATIONS[name].backward(np.ones(7, dtype), np.array(FAR, dtype))
    assert found.dtype == dtype
    assert not np.isnan(found).any()


@pytest.mark.parametrize("name", [*SLOPES, "relu2", "sqrtsoftplus"])
def test_activations_far_out(name: str, dtype: str) -> None:
    x = np.array(FAR, dtype)
    with np.errstate(over="ignore"):
        found = ACTIVATIONS[name].backward(np.ones(7, dtype), x)
    if name == "relu2":  # which grows as x does
        assert found.tolist() == (2 * np.maximum(x, 0)).tolist()
    elif name == "sqrtsoftplus":
        roots = [0.0] * 3 + [0.3002806, 0.05, 5e-16, 0.0]
        assert found.tolist() == pytest.approx(roots, rel=1e-6, abs=1e-20)
    else:
        low, middle, high = SLOPES[name]
        assert found.tolist() == pytest.approx([low] * 3 + [middle] + [high] * 3)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
def test_dropout(p: float) -> None:
    keep = draw_keep((4, 5), p, np.random.default_rng(1))

    def forward(x: Array) -> Array:
        return dropout(x, p, keep=keep).output

    found = dropout_backward(drawn(4, 5, seed=9), keep, p)
    hold(forward, {"x": found}, {"x": drawn(4, 5)})
    grad = drawn(2, 3)
    assert dropout_backward(grad, None, p) is grad


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding(padding_idx: int | None) -> None:
    ids = np.array([[2, 0, 2, 5], [5, 5, 1, 0]])

    def forward(table: Array) -> Array:
        return embedding(ids, table)

    given = {"table": drawn(6, 3)}
    grad = weights_for(given, forward)
    found = embedding_backward(grad, ids, 6, padding_idx=padding_idx)
    expected = np.zeros((6, 3))
    np.add.at(expected, ids, grad)
    if padding_idx is None:
        hold(forward, {"table": found}, given)
    else:
        expected[padding_idx] = 0.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
    assert not found[[3, 4]].any()
    empty = embedding_backward(np.zeros((0, 3), np.float32), np.zeros(0, np.intp), 6)
    assert empty.shape == (6, 3)
    assert empty.dtype == np.float32


def test_many_terms_of_one_row_are_summed_wide() -> None:
    grad = np.full((1_000_000, 1), np.float32(0.1))
    found = embedding_backward(grad, np.zeros(1_000_000, np.intp), 2)
    assert found[0, 0] == np.float32(1e6 * float(np.float32(0.1)))


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention(masked: bool, drops: bool) -> None:
    mask = np.array([[True, True, False], [True, True, True]]) if masked else None
    p = 0.4

    def run(**given: Array) -> Any:
        rng = np.random.default_rng(3) if drops else None
        return attention(**given, mask=mask, p=p, rng=rng)

    given = {name: drawn(2, 2, 3, 4, seed=n) for n, name in enumerate(("query", "key", "value"))}
    given["bias"] = drawn(2, 3, 3, seed=5)
    steps = run(**given)
    found = attention_backward(
        drawn(2, 2, 3, 4, seed=9),
        given["query"],
        given["key"],
        given["value"],
        mask,
        probs=steps.probs,
        dropped=steps.dropout,
        bias=given["bias"],
        p=p,
    )
    gradients = {"query": found.query, "key": found.key, "value": found.value}
    assert found.bias is not None
    hold(lambda **arrays: run(**arrays).output, {**gradients, "bias": found.bias}, given)
    if masked:
        assert not found.key[0, :, 2].any()
        assert not found.value[0, :, 2].any()


@pytest.mark.parametrize("length", [1, 3, 130])
def test_relative_attention_bias(length: int) -> None:
    def forward(table: Array) -> Array:
        return relative_attention_bias(table, length, table.dtype)

    table = drawn(32, 2)
    grad = weights_for({"table": table}, forward).transpose(2, 0, 1)
    hold(forward, {"table": relative_attention_bias_backward(grad, 32)}, {"table": table})


def test_a_sequence_in_which_all_is_masked_hands_nothing_to_its_scores() -> None:
    x, mask = drawn(1, 1, 3, 2), np.zeros((1, 3), np.bool_)
    bias = drawn(1, 3, 3, seed=1)
    steps = attention(x, x, x, mask, bias=bias)
    how: dict[str, Any] = {"probs": steps.probs, "dropped": steps.dropout, "bias": bias}
    found = attention_backward(x, x, x, x, mask, **how)
    assert not found.query.any()
    assert not found.key.any()
    assert found.bias is not None
    assert not found.bias.any()
    assert found.value.any()


def test_what_stands_at_a_masked_place_is_of_no_account() -> None:
    mask = np.array([[True, True, False]])
    x = drawn(1, 1, 3, 2).copy()
    dirty = x.copy()
    dirty[0, 0, 2] = np.nan
    results = []
    for value in (x, dirty):
        steps = attention(x, x, value, mask)
        grad = drawn(1, 1, 3, 2, seed=9)
        found = attention_backward(
            grad, x, x, value, mask, probs=steps.probs, dropped=steps.dropout
        )
        results.append((found.query, found.key, found.value))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_cross_entropy() -> None:
    scores, labels = drawn(4, 5), np.array([0, 4, -100, 2])
    steps = cross_entropy(scores, labels)
    expected = differences(lambda s: cross_entropy(s, labels).output, scores)
    assert relative_error(steps.scores_gradient, expected) < BUDGET
    assert not steps.scores_gradient[2].any()
    shifted = cross_entropy(scores + 1000.0, labels)
    assert shifted.output == pytest.approx(steps.output, rel=1e-12)


@pytest.mark.parametrize("loss", [mse_loss, binary_cross_entropy_with_logits])
def test_losses_of_numbers(loss: Callable[[Array, Array], Any]) -> None:
    scores, labels = 3 * drawn(4, 5), np.random.default_rng(1).random((4, 5))
    expected = differences(lambda s: float(loss(s, labels).output), scores)
    assert relative_error(loss(scores, labels).scores_gradient, expected) < BUDGET


def test_binary_cross_entropy_far_out() -> None:
    scores, labels = np.array([-1e4, 1e4, 1e4]), np.array([0.0, 1.0, 0.0])
    steps = binary_cross_entropy_with_logits(scores, labels)
    assert steps.output == pytest.approx(1e4 / 3)
    assert steps.scores_gradient.tolist() == pytest.approx([0.0, 0.0, 1 / 3])


def test_mean_pooling() -> None:
    hidden, mask = drawn(2, 3, 4), np.array([[True, True, False], [True, True, True]])
    steps = pooling(hidden, mask)
    np.testing.assert_allclose(steps.output[0], hidden[0, :2].mean(axis=0), rtol=0, atol=1e-15)
    grad = drawn(2, 4, seed=9)
    found = pooling_backward(grad, steps)
    hold(lambda hidden: pooling(hidden, mask).output, {"hidden": found}, {"hidden": hidden})
    assert not found[0, 2].any()
    with pytest.raises(InputError, match="text 1 has no token"):
        pooling(hidden, np.array([[True] * 3, [False] * 3]))
    for other in (mask.tolist(), mask.astype(np.uint8), mask.astype(np.float32)):
        assert pooling(hidden, other).output.tobytes() == steps.output.tobytes()
    with pytest.raises(InputError, match=r"^pooling: mask must have shape .*; got \(1, 3\)"):
        pooling(hidden, mask[:1])
    with pytest.raises(
        InputError, match=r"^pooling: mask\[0, 0\] must be 1 for a token .*; got 0.5"
    ):
        pooling(hidden, mask * 0.5)
    with pytest.raises(InputError, match=r"^pooling: hidden must have shape"):
        pooling(hidden[0])


@pytest.mark.parametrize("mode", MODES)
def test_pooling_in_every_mode(mode: str) -> None:
    hidden, mask = drawn(3, 5, 4), np.arange(5) < np.array([[3], [5], [1]])
    steps = pooling(hidden, mask, mode=mode)
    found = pooling_backward(drawn(3, 4, seed=9), steps)
    hold(
        lambda hidden: pooling(hidden, mask, mode=mode).output,
        {"hidden": found},
        {"hidden": hidden},
    )
    assert not found[~mask].any()
    alone = pooled_alone(hidden[mask], np.array([3, 5, 1]), (mode,))
    np.testing.assert_allclose(steps.output, alone, rtol=0, atol=1e-14)
    with pytest.raises(InputError, match=r"mode must be one of .*; got 'sum'"):
        pooling(hidden, mask, mode="sum")


def test_normalize() -> None:
    vectors = drawn(3, 5)
    back = normalize_backward(drawn(3, 5, seed=9).astype("f8"), normalize(vectors))
    hold(lambda vectors: normalize(vectors).output, {"vectors": back}, {"vectors": vectors})
    assert normalize_backward(np.ones((1, 2)), normalize(np.zeros((1, 2)), eps=0.5)).tolist() == [
        [2.0, 2.0]
    ]


SCORES = np.array([0.5, -0.1, 0.5, 0.9])
PAIR_LOSSES: dict[str, Callable[[Array, Array], Any]] = {
    "ranking": lambda a, b: multiple_negatives_ranking_loss(a, b, scale=3.0),
    "negatives": lambda a, b: multiple_negatives_ranking_loss(a[:3], b, scale=3.0),
    "cosine": lambda a, b: cosine_similarity_loss(a, b, SCORES),
    "cosent": lambda a, b: cosent_loss(a, b, SCORES, scale=3.0),
}


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_losses_of_pairs(name: str) -> None:
    loss, first, second = PAIR_LOSSES[name], drawn(4, 5), drawn(4, 5, seed=1)
    found = loss(first, second)
    expected = differences(lambda a: float(loss(a, second).output), first)
    if name == "negatives":
        expected = expected[:3]
    assert relative_error(found.first_gradient, expected) < BUDGET
    expected = differences(lambda b: float(loss(first, b).output), second)
    assert relative_error(found.second_gradient, expected) < BUDGET
    # How long a vector is does not matter.
    assert loss(3.0 * first, 0.1 * second).output == pytest.approx(found.output, rel=1e-12)


def test_losses_of_pairs_are_their_definitions() -> None:
    first, second = drawn(4, 5), drawn(4, 5, seed=1)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second)]
    every = unit[0] @ unit[1].T
    own = [np.log(np.exp(2.0 * row).sum()) - 2.0 * row[i] for i, row in enumerate(every)]
    ranking = multiple_negatives_ranking_loss(first, second, scale=2.0)
    assert ranking.output == pytest.approx(np.mean(own), rel=1e-12)
    apart = (np.diag(every) - SCORES) ** 2
    cosine = cosine_similarity_loss(first, second, SCORES)
    assert cosine.output == pytest.approx(np.mean(apart), rel=1e-12)
    total = 1.0
    for i in range(4):
        for j in range(4):
            if SCORES[i] > SCORES[j]:
                total += np.exp(2.0 * (every[j, j] - every[i, i]))
    assert cosent_loss(first, second, SCORES, scale=2.0).output == pytest.approx(np.log(total))


def test_losses_of_pairs_where_nothing_is_to_be_learnt() -> None:
    first, second = drawn(4, 5), drawn(4, 5, seed=1)
    equal = cosent_loss(first, second, np.ones(4))
    assert equal.output == 0.0
    assert not equal.first_gradient.any()
    alone = multiple_negatives_ranking_loss(first[:1], second[:1])
    assert alone.output == 0.0
    assert not alone.second_gradient.any()


def test_a_sharp_loss_of_pairs_does_not_overflow() -> None:
    same = np.eye(2)
    found = cosent_loss(same, same[::-1] - same, np.array([0.0, 1.0]), scale=1e4)
    assert np.isfinite(found.output)
    ordered = cosent_loss(
        np.eye(2), np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([0.0, 1.0]), scale=1e4
    )
    assert ordered.output == pytest.approx(2e4)
    assert np.isfinite(ordered.first_gradient).all()


def test_what_does_not_fit_a_loss_of_pairs_is_named() -> None:
    first = drawn(4, 5)
    for wrong in (first[:3], drawn(4, 6), first[0]):
        with pytest.raises(InputError, match="there must be a candidate for each anchor"):
            multiple_negatives_ranking_loss(first, wrong)
        with pytest.raises(InputError, match="cosent_loss: there must be two vectors"):
            cosent_loss(first, wrong, SCORES)
    with pytest.raises(InputError, match=r"cosine_similarity_loss: .* a score for each pair"):
        cosine_similarity_loss(first, first, SCORES[:3])
    with pytest.raises(InputError, match="at least one"):
        cosent_loss(first[:0], first[:0], SCORES[:0])


@pytest.mark.parametrize("loss", [cosine_embedding_loss, similarity_preserving_loss])
def test_losses_of_vectors(loss: Callable[[Array, Array], Any]) -> None:
    vectors, wanted = drawn(4, 5), drawn(4, 5, seed=1)
    expected = differences(lambda v: float(loss(v, wanted).output), vectors)
    found = loss(vectors, wanted)
    assert relative_error(found.scores_gradient, expected) < BUDGET
    # How long a vector is does not matter, so nothing pulls along it.
    assert loss(3.0 * vectors, 0.1 * wanted).output == pytest.approx(found.output, rel=1e-12)
    along = np.einsum("be,be->b", found.scores_gradient, vectors)
    np.testing.assert_allclose(along, 0.0, rtol=0, atol=1e-15)
    assert loss(2.0 * wanted, wanted).output == pytest.approx(0.0, abs=1e-15)
    for wrong in (drawn(3, 5), drawn(5)):
        with pytest.raises(InputError, match="a teacher's vector for each"):
            loss(vectors, wrong)
    with pytest.raises(InputError, match="at least one"):
        loss(drawn(0, 5), drawn(0, 5))


def test_losses_of_vectors_are_their_definitions() -> None:
    vectors, wanted = drawn(4, 5), drawn(4, 3, seed=1)

    def cosine(a: Array, b: Array) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    apart = [
        (cosine(vectors[i], vectors[j]) - cosine(wanted[i], wanted[j])) ** 2
        for i in range(4)
        for j in range(4)
    ]
    found = similarity_preserving_loss(vectors, wanted).output
    assert found == pytest.approx(np.mean(apart), rel=1e-12)
    each = [1.0 - cosine(vectors[i], vectors[3 - i]) for i in range(4)]
    found = cosine_embedding_loss(vectors, vectors[::-1]).output
    assert found == pytest.approx(np.mean(each), rel=1e-12)
    zeros = cosine_embedding_loss(np.zeros((1, 3)), np.ones((1, 3)))
    assert zeros.output == 1.0
    assert np.isfinite(zeros.scores_gradient).all()


@pytest.mark.parametrize("label", [-1, 5, 99])
def test_a_label_out_of_range_is_named(label: int) -> None:
    with pytest.raises(InputError, match=rf"labels: label {label}, number 1 of 2, .* 0 to 4"):
        cross_entropy(drawn(2, 5), np.array([0, label]))


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="none counts"):
        cross_entropy(drawn(2, 5), np.array([-100, -100]))


def test_gradients_keep_their_dtype(dtype: str) -> None:
    x = drawn(2, 3, 4).astype(dtype)
    weight, bias = drawn(4, 4, seed=1).astype(dtype), drawn(4, seed=2).astype(dtype)
    norm = layer_norm(x, bias, bias, eps=1e-12)
    heads, scores = x[np.newaxis], drawn(2, 3, 3).astype(dtype)
    steps = attention(heads, heads, heads, bias=scores)
    how: dict[str, Any] = {"probs": steps.probs, "dropped": steps.dropout, "bias": scores}
    found: list[Any] = [
        *vars_of(linear_backward(x, x, weight)),
        *vars_of(layer_norm_backward(x, norm, bias)),
        *vars_of(attention_backward(heads, heads, heads, heads, **how)),
        relative_attention_bias_backward(scores, 32),
        softmax_backward(x, softmax(x)),
        embedding_backward(x, np.zeros((2, 3), np.intp), 2),
        dropout_backward(x, x > 0, 0.1),
        cross_entropy(x[0], np.array([0, 1, 2])).scores_gradient,
        cosine_embedding_loss(x[0], x[1]).scores_gradient,
        similarity_preserving_loss(x[0], x[1]).scores_gradient,
        pooling_backward(x[:, 0], pooling(x, np.ones((2, 3), np.bool_))),
        mse_loss(x, x).scores_gradient,
        multiple_negatives_ranking_loss(x[0], x[1]).first_gradient,
        multiple_negatives_ranking_loss(x[0], x[1]).second_gradient,
        cosent_loss(x[0], x[1], SCORES[:3]).first_gradient,
        cosine_similarity_loss(x[0], x[1], SCORES[:3]).second_gradient,
        binary_cross_entropy_with_logits(x, np.zeros_like(x)).scores_gradient,
    ]
    assert {array.dtype for array in found} == {np.dtype(dtype)}


def vars_of(gradients: Any) -> list[Array]:
    return [getattr(gradients, name) for name in gradients.__dataclass_fields__]


def test_float32_is_computed_in_float64_and_rounded_once() -> None:
    x, grad = drawn(30, 40).astype("f4"), drawn(30, 50, seed=1).astype("f4")
    weight, norm = drawn(50, 40, seed=2).astype("f4"), drawn(40, seed=3).astype("f4")
    heads = [drawn(1, 2, 9, 20, seed=n).astype("f4") for n in range(4)]
    bias = drawn(2, 9, 9, seed=4).astype("f4")
    steps, wide = attention(*heads[:3], bias=bias), [a.astype("f8") for a in heads]
    probs = steps.probs.astype("f8")
    pairs: list[tuple[Any, Any]] = [
        (linear_backward(grad, x, weight), linear_backward(*map(up, (grad, x, weight)))),
        (
            attention_backward(
                heads[3], *heads[:3], probs=steps.probs, dropped=steps.dropout, bias=bias
            ),
            attention_backward(
                wide[3], *wide[:3], probs=probs, dropped=dropout(probs, 0.0), bias=up(bias)
            ),
        ),
    ]
    for found, expected in pairs:
        for one, other in zip(vars_of(found), vars_of(expected), strict=True):
            assert np.array_equal(one, other.astype("f4"))
    rows = drawn(30, 40, seed=4).astype("f4")
    found = softmax_backward(rows, softmax(x))
    assert np.array_equal(found, softmax_backward(up(rows), up(softmax(x))).astype("f4"))
    labels = np.arange(30)
    loss, exact = cross_entropy(x, labels), cross_entropy(up(x), labels)
    assert loss.output == exact.output
    assert np.array_equal(loss.scores_gradient, exact.scores_gradient.astype("f4"))
    made = layer_norm(x, norm, norm, eps=1e-12)
    back = layer_norm_backward(rows, made, norm)
    again = replace(made, normalized=up(made.normalized))
    for one, other in zip(
        vars_of(back), vars_of(layer_norm_backward(up(rows), again, up(norm))), strict=True
    ):
        assert np.array_equal(one, other.astype("f4"))


def up(array: Array) -> Array:
    return array.astype(np.float64)

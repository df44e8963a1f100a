"""What each step computes: one sentence, the formula, and the function to read.

In a formula x is what comes into the step; the capitals are those of `numpy_bert.arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from numpy_bert.config import BertConfig
from numpy_bert.ops.activation import ACTIVATIONS

__all__ = ["EMBEDDING_STEPS", "LESSONS", "WALK_STEPS", "Lesson", "count_of", "lesson_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a step, or a panel of the page, is about.

    Attributes
    ----------
    sentence : str
        What is computed.
    formula : str
        How it is computed.
    function : str
        The path of the function that computes it.
    axes : str
        The letters of the result's shape (see `numpy_bert.arrays`).
    """

    sentence: str
    formula: str
    function: str
    axes: str


def _linear(sentence: str, weight: str, axes: str = "TH", x: str = "x") -> Lesson:
    return Lesson(
        sentence=sentence,
        formula=f"{x} · {weight}.weightᵀ + {weight}.bias",
        function="numpy_bert.ops.linear.linear",
        axes=axes,
    )


def _norm(sentence: str, formula: str, axes: str = "TH") -> Lesson:
    return Lesson(
        sentence=sentence,
        formula=formula,
        function="numpy_bert.ops.layer_norm.layer_norm",
        axes=axes,
    )


def _sum(sentence: str, formula: str, function: str) -> Lesson:
    return Lesson(sentence=sentence, formula=formula, function=function, axes="TH")


_LAYER = "numpy_bert.blocks.encoder.encoder_layer"
_WHOLE_NORM = "(x − mean) · rstd · weight + bias"

# The steps of the input embedding that are drawn where they are, by their trace names.
EMBEDDING_STEPS = (
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings.task_type_embeddings",
    "embeddings.sum",
    "embeddings.LayerNorm.mean",
    "embeddings.LayerNorm.variance",
    "embeddings.LayerNorm.rstd",
    "embeddings.LayerNorm.normalized",
    "embeddings.LayerNorm",
)
# The steps of a layer, by what follows encoder.layer.N. in their names, in the order of execution.
_WALK = {
    "attention.self.query": _linear("What the token asks for.", "query"),
    "attention.self.key": _linear("What it answers to.", "key"),
    "attention.self.value": _linear("What it has to give.", "value"),
    "attention.self.scores": Lesson(
        sentence="How well each token's key answers this token's query, head by head.",
        formula="query · keyᵀ / √D",
        function="numpy_bert.ops.attention.attention_scores",
        axes="ATT",
    ),
    "attention.self.probs": Lesson(
        sentence="The attention weights: the scores as shares of one.",
        formula="exp(score − max) / Σ exp(score − max)",
        function="numpy_bert.ops.softmax.softmax",
        axes="ATT",
    ),
    "attention.self": Lesson(
        sentence="The context: the mean of all tokens' values, weighted by these.",
        formula="probs · value",
        function="numpy_bert.ops.attention.weighted_values",
        axes="TH",
    ),
    "attention.output.dense": _linear("The heads' contexts are mixed.", "dense", x="context"),
    "attention.output.sum": _sum(
        "The residual sum: what came into the layer is added.", "dense + x", _LAYER
    ),
    "attention.output.LayerNorm": _norm("The first LayerNorm of the layer.", _WHOLE_NORM),
    "intermediate.dense": _linear("From H to I features: the activation's input.", "dense", "TI"),
    "intermediate": Lesson(
        sentence="The activation's output.",
        formula="activation(x)",
        function="numpy_bert.ops.activation",
        axes="TI",
    ),
    "output.dense": _linear("Back from I to H features.", "dense"),
    "output.sum": _sum(
        "The residual sum: the first LayerNorm's output is added.", "dense + x", _LAYER
    ),
    "output.LayerNorm": _norm("The second LayerNorm: what the next layer gets.", _WHOLE_NORM),
}
# The lessons of the activations, by what BertConfig.activation returns; one that is not here has
# the step's own sentence, and its function's name for a formula.
_ACTIVATIONS = {
    "gelu": (
        "GELU's output: what is far below zero is shut off, smoothly.",
        "x · (1 + erf(x / √2)) / 2",
    ),
    "gelu_10": (
        "GELU's output, held between −10 and 10: what is far below zero is shut off, smoothly.",
        "min(max(x · (1 + erf(x / √2)) / 2, −10), 10)",
    ),
    "gelu_new": (
        "GELU's output, in its tanh form: what is far below zero is shut off, smoothly.",
        "x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2",
    ),
    "hardswish": (
        "Hardswish's output: what is below −3 is shut off, what is above 3 passes.",
        "x · min(max(x + 3, 0), 6) / 6",
    ),
    "laplace": (
        "The share of a normal distribution below x: squashed to between 0 and 1.",
        "(1 + erf((x − 0.707107) / (0.282095 √2))) / 2",
    ),
    "leaky_relu": (
        "Leaky ReLU's output: what is below zero is made small.",
        "x > 0 ? x : 0.01 · x",
    ),
    "linear": ("There is no activation here: the input passes as it is.", "x"),
    "mish": (
        "Mish's output: what is far below zero is shut off, smoothly.",
        "x · tanh(log(1 + exp(x)))",
    ),
    "quick_gelu": (
        "GELU's output, approximately: what is far below zero is shut off, smoothly.",
        "x / (1 + exp(−1.702 x))",
    ),
    "relu": ("ReLU's output: what is below zero is shut off.", "max(x, 0)"),
    "relu2": ("The square of ReLU's output: what is below zero is shut off.", "max(x, 0)²"),
    "relu6": (
        "ReLU's output, held below 6: what is below zero is shut off.",
        "min(max(x, 0), 6)",
    ),
    "sigmoid": ("Squashed to between 0 and 1.", "1 / (1 + exp(−x))"),
    "silu": ("SiLU's output: what is far below zero is shut off, smoothly.", "x / (1 + exp(−x))"),
    "sqrtsoftplus": (
        "The root of softplus: what is far below zero is shut off, smoothly.",
        "√log(1 + exp(x))",
    ),
    "tanh": ("Squashed to between −1 and 1.", "tanh(x)"),
}
# The page's panels.
_PANELS = {
    "picture": Lesson(
        sentence="Each token picks a row of each of three tables; the rows are added, and "
        "LayerNorm brings each sum to mean 0 and variance 1, then scales and shifts its features.",
        formula="LayerNorm(word + segment + position)",
        function="numpy_bert.blocks.embeddings.embeddings",
        axes="TH",
    ),
    "lookups": Lesson(
        sentence="The same with every feature: the three rows of each token, the sum of the three, "
        "and what LayerNorm makes of it.",
        formula="table.weight[ids]",
        function="numpy_bert.ops.embedding.embedding",
        axes="TH",
    ),
    "shares": Lesson(
        sentence="The length of each of a token's three rows, and its share of the sum: the part "
        "of it that points where the sum points, so that the three shares sum to 100 %.",
        formula="share(part) = part · sum / |sum|²",
        function="numpy_bert.explain.measures.parts_of",
        axes="T3",
    ),
    "layernorm": Lesson(
        sentence="Each row is brought to mean 0 and variance 1 by itself, then scaled and shifted, "
        "feature by feature, by what was learned.",
        formula="(x − mean) / √(variance + ε) · weight + bias, variance = Σ (x − mean)² / H",
        function="numpy_bert.ops.layer_norm.layer_norm",
        axes="TH",
    ),
    "dropout": Lesson(
        sentence="In training each feature is dropped with probability p and the kept ones are "
        "scaled up, so that the expectation stays; when a model is used, dropout is off.",
        formula="keep ? x / (1 − p) : 0",
        function="numpy_bert.ops.dropout.dropout",
        axes="H",
    ),
    "attention": Lesson(
        sentence="Row i holds token i's attention weights over all tokens, the special ones "
        "included; they sum to 1 and weight the values.",
        formula="softmax(query · keyᵀ / √D)",
        function="numpy_bert.ops.attention.attention",
        axes="ATT",
    ),
    "walk": Lesson(
        sentence="One token on its way through a layer: it attends to all, is added to what came "
        "in, and passes the feed-forward network alone.",
        formula="LayerNorm(h + FFN(h)), h = LayerNorm(x + attention(x))",
        function=_LAYER,
        axes="TH",
    ),
    "similarity": Lesson(
        sentence="How alike the tokens' vectors are, from the embedding to the last layer: 1 for "
        "the same direction, 0 at a right angle, -1 for opposite ones.",
        formula="cos(a, b) = a · b / (|a| |b|)",
        function="numpy_bert.explain.measures.cosines",
        axes="TT",
    ),
    "predictions": Lesson(
        sentence="Which words fit at each mask, and how probable the model finds them.",
        formula="softmax(transform(x) · word_embeddings.weightᵀ + bias)",
        function="numpy_bert.blocks.heads.lm_prediction",
        axes="TV",
    ),
}

WALK_STEPS = tuple(_WALK)
LESSONS = {**_WALK, **_PANELS}


# The panels that are about the input embedding, whose features may be others than the layers'.
_OF_EMBEDDING = ("picture", "lookups", "shares", "layernorm", "dropout")
# What the lessons of three tables say, where there are others.
_COUNTS = {2: "two", 3: "three", 4: "four"}
_SUM = "word + segment + position"
# What is added to the scores in some models.
_SCORES, _WITH_BIAS = "query · keyᵀ / √D", "query · keyᵀ / √D + bias(distance)"


def lesson_of(
    name: str, config: BertConfig, parts: Sequence[str] = ("word", "segment", "position")
) -> Lesson:
    """Return what a step or a panel is about, in a model with such an activation and such tables.

    Parameters
    ----------
    name : str
        A key of `LESSONS`.
    config : BertConfig
        The model's settings.
    parts : sequence of str
        What the tables of the input embedding are called for short.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> lesson_of("output.sum", BertModel.from_pretrained("demo").config).formula
    'dense + x'
    """
    lesson = LESSONS[name]
    if name in _OF_EMBEDDING:
        return _with_parts(lesson, config, parts)
    if config.relative_attention_num_buckets:
        lesson = replace(lesson, formula=lesson.formula.replace(_SCORES, _WITH_BIAS))
    if name != "intermediate":
        return lesson
    function = ACTIVATIONS[config.activation].forward
    general = lesson.sentence, f"{function.__name__}(x)"
    sentence, formula = _ACTIVATIONS.get(config.activation, general)
    home = "numpy" if function is np.tanh else "numpy_bert.ops.activation"
    path = f"{home}.{function.__name__}"
    return replace(lesson, sentence=sentence, formula=formula, function=path)


def _with_parts(lesson: Lesson, config: BertConfig, parts: Sequence[str]) -> Lesson:
    """Return a lesson about an embedding of so many tables, and of as many features."""
    sentence = lesson.sentence.replace("three", count_of(parts))
    formula = lesson.formula.replace(_SUM, " + ".join(parts))
    axes = lesson.axes.replace("3", str(len(parts)))
    if config.embedding_features != config.hidden_size:
        axes, formula = axes.replace("H", "E"), formula.replace("/ H", "/ E")
    return replace(lesson, sentence=sentence, formula=formula, axes=axes)


def count_of(parts: Sequence[str]) -> str:
    """Return how many tables there are, as a word.

    Examples
    --------
    >>> count_of(["word", "position"])
    'two'
    """
    return _COUNTS[len(parts)]

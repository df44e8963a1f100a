"""A text as a model reads it: the numbers that every picture of it is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.reprs import short_repr
from numpy_bert.tasks.fill import Fill

__all__ = ["LayerReading", "Prediction", "Reading", "Token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of the text: where it stands, and which rows of the tables it picks.

    Attributes
    ----------
    text : str
        The token, as the tokenizer has it.
    id, segment, position_id : int
        The rows of the tables of words, segments and positions; the segment is 0 where a model has
        none.
    position : int
        Its place in the text, from 0.
    """

    text: str
    id: int
    segment: int
    position: int
    position_id: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LayerReading:
    """What is drawn of one layer, for K tokens and A heads; the arrays are the trace's own.

    Attributes
    ----------
    probs : ndarray of shape (A, K, K)
        The attention weights of each drawn token (first K) over each drawn token.
    rest : ndarray of shape (A, K)
        The sum of each drawn token's weights over all tokens that are not drawn.
    walked_probs : ndarray of shape (A, T)
        The walked token's attention weights over every token of the text.
    walk : dict of str to ndarray
        The steps of the walked token, by what follows ``encoder.layer.N.`` in their names: (H,) or
        (I,); scores and probs (A, K).
    """

    __repr__ = short_repr

    probs: Array
    rest: Array
    walked_probs: Array
    walk: Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The words that fit best at a mask, best first."""

    __repr__ = short_repr

    position: int
    words: tuple[Fill, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reading:
    """A text as a model reads it, made by `read`. No array is rounded: each is the trace's own.

    Attributes
    ----------
    name : str
        What the model is called.
    texts : tuple of str
        The text, or the two of a pair.
    config : BertConfig
        The model's settings.
    tokens : tuple of Token
        All T tokens of the text.
    drawn : tuple of int
        The positions of the K tokens that are drawn: all, unless there are too many to see.
    walked : int
        The position of the token that is followed through the layers; it is drawn.
    embeddings : dict of str to ndarray
        The steps of the input embedding by their trace names, (K, E) or (K, 1).
    layers : tuple of LayerReading
        What is drawn of each layer, from the first to the last.
    similarity : ndarray of shape (L + 1, K, K), float64
        The cosine between the drawn tokens' rows of the embedding's output and each layer's.
    predictions : tuple of Prediction, or None
        The words that fit at each mask that is drawn; None where the model has no head that
        predicts words.
    notes : tuple of str
        Sentences about what the text lost on its way, and what no picture shows of the model.
    """

    __repr__ = short_repr

    name: str
    texts: tuple[str, ...]
    config: BertConfig
    tokens: tuple[Token, ...]
    drawn: tuple[int, ...]
    walked: int
    embeddings: Mapping[str, Array]
    layers: tuple[LayerReading, ...]
    similarity: npt.NDArray[np.float64]
    predictions: tuple[Prediction, ...] | None
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How many tokens the text has, and how large the model is."""
        config, count = self.config, len(self.tokens)
        return (
            f"{count} token{'s' * (count != 1)}, {config.num_hidden_layers} layers of "
            f"{config.hidden_size} features, {config.num_attention_heads} heads each"
        )

    @property
    def shown(self) -> tuple[Token, ...]:
        """The tokens that are drawn."""
        return tuple(self.tokens[place] for place in self.drawn)

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence about the tokens that are not drawn; empty if all are."""
        if len(self.drawn) == len(self.tokens):
            return ()
        return (
            f"{len(self.drawn)} of {len(self.tokens)} tokens are drawn: those around position "
            f"{self.walked}, the first, the last, and some of the special ones between.",
        )

    @property
    def walked_token(self) -> Token:
        """The token that is followed through the layers."""
        return self.tokens[self.walked]

"""A model is run over a text, and what can be drawn of each step is kept as it comes by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.explain.lessons import EMBEDDING_STEPS, WALK_STEPS
from numpy_bert.explain.measures import cosines
from numpy_bert.explain.reading import LayerReading, Prediction, Reading, Token
from numpy_bert.messages import shown
from numpy_bert.model.bert import BertModel
from numpy_bert.model.task_models import BertForMaskedLM
from numpy_bert.ops.softmax import softmax
from numpy_bert.progress import progress
from numpy_bert.tasks.fill import fills
from numpy_bert.text.encoding import BatchEncoding
from numpy_bert.text.lost import encode_whole, lost
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.traces.trace_inputs import inputs_of

__all__ = ["read"]

# How many tokens of a long text are drawn: as many as a person can tell apart and a page can hold.
_MOST_DRAWN = 48
# How many of these may be special tokens and masks: each is a landmark, many are none.
_MOST_LANDMARKS = 12
_TOP_K = 10
_IN_LAYER = re.compile(r"encoder\.layer\.\d+\.?(.*)")


def read(
    text: str,
    text_pair: str | None = None,
    *,
    model: BertModel | BertForMaskedLM,
    tokenizer: BertTokenizer,
    token: int | None = None,
    truncation: bool = False,
    name: str = "BERT",
) -> Reading:
    """Run a model over a text, and keep what a picture of it needs.

    Parameters
    ----------
    text, text_pair : str
        A text, or the two texts of a pair.
    model : BertModel or BertForMaskedLM
        The model. A BertForMaskedLM also says which words fit at each mask of the text.
    tokenizer : BertTokenizer
        The model's tokenizer.
    token : int, optional
        The position of the token that is followed through the layers; the middle one by default.
    truncation : bool
        Whether a text that is longer than the model reads is cut; otherwise it is an error.
    name : str
        What the pictures call the model.

    Returns
    -------
    Reading
        What `figure`, `page` and `terminal` draw.

    Raises
    ------
    InputError
        If the text has more tokens than the model takes, no token at all, or none at `token`.

    Examples
    --------
    >>> from numpy_bert import BertModel, BertTokenizer
    >>> model, tokenizer = BertModel.from_pretrained("demo"), BertTokenizer.from_pretrained("demo")
    >>> reading = read("this is a test", model=model, tokenizer=tokenizer)
    >>> reading.walked_token.text, reading.layers[1].probs.shape
    ('a', (2, 6, 6))
    """
    texts = (text,) if text_pair is None else (text, text_pair)
    if not isinstance(model, (BertModel, BertForMaskedLM)):
        raise InputError(
            f"model must be a BertModel or a BertForMaskedLM; got {type(model).__name__}."
        )
    limit = model.config.max_tokens
    inputs = encode_whole(tokenizer, texts, limit, truncation=truncation)
    notes = lost(tokenizer, texts, inputs)
    frame = np.flatnonzero(inputs.pop("special_tokens_mask")[0]).tolist()
    masks = np.flatnonzero(inputs["input_ids"][0] == tokenizer.mask_token_id).tolist()
    bert = model.bert if isinstance(model, BertForMaskedLM) else model
    if bert.parameters.embeddings.token_type_embeddings is None:
        inputs.pop("token_type_ids", None)
    tokens = _tokens(tokenizer, inputs, bert)
    walked = _walked(token, tokens)
    drawn = _drawn(len(tokens), walked, [*frame[:1], *frame[-1:], *frame, *masks])
    if not masks and tokenizer.mask_token and any(tokenizer.mask_token in text for text in texts):
        notes.append(f"the part of the text with {tokenizer.mask_token} was cut off.")
    notes += _projected(model.config)
    embeddings, layers, similarity = _collect(bert, inputs, list(drawn), walked)
    return Reading(
        name=name,
        texts=texts,
        config=model.config,
        tokens=tokens,
        drawn=drawn,
        walked=walked,
        embeddings=embeddings,
        layers=layers,
        similarity=similarity,
        predictions=_predictions(
            model, tokenizer, inputs, [place for place in masks if place in drawn]
        ),
        notes=tuple(notes),
    )


def _projected(config: BertConfig) -> list[str]:
    """Say how many features the embedding has, where these are others than the layers'."""
    if config.embedding_features == config.hidden_size:
        return []
    return [
        f"the embedding has {config.embedding_features} features, and a projection makes "
        f"{config.hidden_size} of them, which the layers read."
    ]


def _tokens(tokenizer: BertTokenizer, inputs: BatchEncoding, model: BertModel) -> tuple[Token, ...]:
    """Return the tokens of the one row."""
    ids = inputs["input_ids"][0].tolist()
    pieces = tokenizer.convert_ids_to_tokens(ids)
    checked = inputs_of(inputs, model)
    segments, rows = checked.token_type_ids[0].tolist(), checked.position_ids[0].tolist()
    return tuple(
        Token(text=piece, id=number, segment=segment, position=position, position_id=row)
        for position, (piece, number, segment, row) in enumerate(
            zip(pieces, ids, segments, rows, strict=True)
        )
    )


def _walked(token: int | None, tokens: Sequence[Token]) -> int:
    """Return the position of the token that is followed."""
    if not tokens:
        raise InputError("the text must have a token; it has none, and this tokenizer adds none.")
    if token is None:
        return len(tokens) // 2
    if not isinstance(token, (int, np.integer)) or isinstance(token, bool):
        raise InputError(
            f"token must be a whole number, the position of a token; got {type(token).__name__}."
        )
    if not 0 <= token < len(tokens):
        raise InputError(
            f"token must be a position from 0 to {len(tokens) - 1}, as the text has {len(tokens)} "
            f"tokens; got {shown(token)}."
        )
    return int(token)


def _drawn(length: int, walked: int, landmarks: Sequence[int]) -> tuple[int, ...]:
    """Return which positions are drawn: all, or some landmarks and those around the walked one."""
    if length <= _MOST_DRAWN:
        return tuple(range(length))
    chosen = {*list(dict.fromkeys(landmarks))[:_MOST_LANDMARKS], walked}
    for place in sorted(range(length), key=lambda place: (abs(place - walked), place)):
        if len(chosen) == _MOST_DRAWN:
            break
        chosen.add(place)
    return tuple(sorted(chosen))


def _collect(
    model: BertModel, inputs: BatchEncoding, drawn: list[int], walked: int
) -> tuple[dict[str, Array], tuple[LayerReading, ...], npt.NDArray[np.float64]]:
    """Run the model, and keep what is drawn of each step as it comes by."""
    embeddings: dict[str, Array] = {}
    layers: list[LayerReading] = []
    states: list[Array] = []
    steps: dict[str, Array] = {}
    with progress(
        model.config.num_hidden_layers, "layers", least=1, unit="layers", delay=1
    ) as tick:
        for name, array in model.trace(**inputs):
            found = _IN_LAYER.fullmatch(name)
            if name in EMBEDDING_STEPS:
                embeddings[name] = array[0, drawn].copy()
            elif found is not None and found[1] in WALK_STEPS:
                steps[found[1]] = array[0]
            if name == "embeddings" or (found is not None and not found[1]):
                states.append(array[0, drawn].copy())
            if found is not None and not found[1]:
                layers.append(_layer(steps, drawn, walked))
                steps.clear()
                tick(1)
    return embeddings, tuple(layers), np.stack([cosines(state) for state in states])


def _layer(steps: Mapping[str, Array], drawn: list[int], walked: int) -> LayerReading:
    """Return what is drawn of a layer; its steps are (T, n), those of its attention (A, T, T)."""
    probs = steps["attention.self.probs"]
    others = np.setdiff1d(np.arange(probs.shape[2]), drawn)
    walk = {
        name: (array[:, walked, drawn] if array.ndim == 3 else array[walked]).copy()
        for name, array in steps.items()
    }
    return LayerReading(
        probs=probs[:, drawn][:, :, drawn],
        rest=probs[:, drawn][:, :, others].sum(axis=2),
        walked_probs=probs[:, walked].copy(),
        walk=walk,
    )


def _predictions(
    model: BertModel | BertForMaskedLM,
    tokenizer: BertTokenizer,
    inputs: BatchEncoding,
    places: Sequence[int],
) -> tuple[Prediction, ...] | None:
    """Return the words that fit at the masks of these places."""
    if not isinstance(model, BertForMaskedLM):
        return None
    if not places:
        return ()
    ids = inputs["input_ids"][0].tolist()
    logits = model(**inputs).logits
    assert logits is not None
    return tuple(_best(tokenizer, ids, place, logits[0, place]) for place in places)


def _best(tokenizer: BertTokenizer, ids: list[int], place: int, scores: Array) -> Prediction:
    """Return the best words at one mask, by their scores (V,)."""
    words = fills(
        tokenizer, ids, place, softmax(scores), top_k=_TOP_K, only=None, keep_special=False
    )
    return Prediction(position=place, words=tuple(words))

"""The whole model by the readable code: every step at once, or one layer after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray
from numpy_bert.blocks.embeddings import EmbeddingsSteps, check_inputs
from numpy_bert.blocks.encoder import (
    LayerSteps,
    PoolerSteps,
    encoder,
    encoder_layer,
    pooler,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.model.faults import check_finite
from numpy_bert.model.outputs import BertSteps
from numpy_bert.model.packed import used_mask
from numpy_bert.parameters import (
    BertEncoderParameters,
    BertLayerParameters,
    BertParameters,
)
from numpy_bert.trace import named_steps

__all__ = ["Arguments", "ReadableModel"]


class Arguments(NamedTuple):
    """What a model is called with, as `BertModel` takes it."""

    input_ids: npt.ArrayLike | None = None
    attention_mask: npt.ArrayLike | None = None
    token_type_ids: npt.ArrayLike | None = None
    position_ids: npt.ArrayLike | None = None
    inputs_embeds: npt.ArrayLike | None = None
    rng: np.random.Generator | None = None


class ReadableModel:
    """A loaded model that keeps every step it takes."""

    def __init__(
        self,
        config: BertConfig,
        parameters: BertParameters,
        embeddings: BertEmbeddings,
        source: str,
    ) -> None:
        self._config = config
        self._parameters = parameters
        self._embeddings = embeddings
        self._source = source

    @np.errstate(all="ignore")
    def steps(self, given: Arguments) -> BertSteps:
        """Return every intermediate; see `numpy_bert.BertModel.steps`."""
        parameters = self._encoder_parameters()
        mask = self._mask(given)
        embedded = self._embedded(given)
        encoded = encoder(parameters, embedded.output, mask, config=self._config, rng=given.rng)
        pooled = self._pooled(encoded.output)
        steps = BertSteps(embeddings=embedded, encoder=encoded, pooler=pooled)
        check_finite(
            (encoded.output, None if pooled is None else pooled.output),
            {"encoder.": parameters, "pooler.": self._parameters.pooler},
            steps=named_steps(steps, ""),
            source=self._source,
            given=not np.isfinite(embedded.output).all(),
        )
        return steps

    def trace(self, given: Arguments) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Check the arguments, and return the stream; see `numpy_bert.BertModel.trace`."""
        parameters = self._encoder_parameters()
        return self._stream(parameters, self._mask(given), given)

    def _stream(
        self, parameters: BertEncoderParameters, mask: BoolArray | None, given: Arguments
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the steps of the embedding, of each layer, of the pooler."""
        embedded = self._embedded(given)
        hidden, finite = embedded.output, bool(np.isfinite(embedded.output).all())
        yield from named_steps(embedded, "embeddings")
        del embedded
        for number, layer in enumerate(parameters.layer):
            name = f"encoder.layer.{number}"
            done = self._layer(layer, name, hidden, mask, given.rng, given=not finite)
            hidden = done.output.output
            yield from named_steps(done, name)
            del done
        yield "encoder", hidden
        pooled = self._pooled(hidden)
        if pooled is not None:
            self._check((pooled.output,), "pooler", self._parameters.pooler, pooled, not finite)
            yield from named_steps(pooled, "pooler")

    @np.errstate(all="ignore")
    def _layer(
        self,
        parameters: BertLayerParameters,
        name: str,
        hidden: Array,
        mask: BoolArray | None,
        rng: np.random.Generator | None,
        *,
        given: bool,
    ) -> LayerSteps:
        """Run one layer; raise CheckpointError where its weights make it overflow."""
        done = encoder_layer(parameters, hidden, mask, config=self._config, rng=rng)
        self._check((done.output.output,), name, parameters, done, given)
        return done

    def _check(
        self, results: tuple[Array], name: str, parameters: object, steps: object, given: bool
    ) -> None:
        """Blame the weight that a result which is not finite is due to."""
        check_finite(
            results,
            {f"{name}.": parameters},
            steps=named_steps(steps, name),
            source=self._source,
            given=given,
        )

    def _embedded(self, given: Arguments) -> EmbeddingsSteps:
        """Run the input embedding."""
        return self._embeddings.steps(*_ids(given), rng=given.rng)

    @np.errstate(all="ignore")
    def _pooled(self, hidden: Array) -> PoolerSteps | None:
        """Run the pooler; None where there is none, or no token to read."""
        head = self._parameters.pooler
        return pooler(head, hidden) if head is not None and hidden.shape[1] > 0 else None

    def _mask(self, given: Arguments) -> BoolArray | None:
        """Check ids and mask, and return the mask, None where nothing is masked."""
        inputs = check_inputs(self._parameters.embeddings, *_ids(given))
        return used_mask(given.attention_mask, inputs.words.shape[:2])

    def _encoder_parameters(self) -> BertEncoderParameters:
        """Return the encoder's parameters; raise InputError where only a part was loaded."""
        if self._parameters.encoder is None:
            raise InputError(
                "model: loaded with only='embeddings'; load the whole to run the encoder."
            )
        return self._parameters.encoder


def _ids(given: Arguments) -> tuple[npt.ArrayLike | None, ...]:
    """Return what an embedding takes, in its order."""
    return given.input_ids, given.token_type_ids, given.position_ids, given.inputs_embeds

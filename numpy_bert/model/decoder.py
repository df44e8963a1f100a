"""The head that predicts words, whose decoder is the word table or one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.blocks.heads import LMPredictionSteps, lm_prediction
from numpy_bert.blocks.heads_backward import LMPredictionGradients, lm_prediction_backward
from numpy_bert.errors import InputError
from numpy_bert.kernels.decoder import decode, decode_backward
from numpy_bert.model.differentiable import HeadInput, HeadRun, Index
from numpy_bert.model.gradients import split_batch
from numpy_bert.model.head import (
    BertWithHead,
    HeadSteps,
    Output,
    Parameters,
    Steps,
)
from numpy_bert.ops.linear import linear, linear_backward
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
)
from numpy_bert.tasks.objectives import (
    places_that_count,
)

__all__ = ["WithDecoder"]


class WithDecoder(BertWithHead[Parameters, HeadSteps, Steps, Output]):
    """A head with a decoder: the word table, unless ``config.tie_word_embeddings`` is false."""

    _prepared = BertWithHead._prepared | {"_decoder"}

    @property
    def decoder(self) -> Array:
        """The decoder's weight, (V, H): the head's own, else the word table, widened once."""
        own = self.head.cls.predictions.decoder  # type: ignore[union-attr]
        return self._decoder if own is None else own.weight

    @cached_property
    def _decoder(self) -> Array:
        return self.bert.embeddings.word_embeddings.weight

    def at_labels(self, batch: Mapping[str, Any]) -> Output:
        """Return the scores of the tokens that are to be guessed, not of all.

        Parameters
        ----------
        batch : mapping
            As of `loss_and_gradients`.

        Returns
        -------
        ModelOutput
            As of a call; the scores of words are (N, V), for the N tokens whose label counts.

        Examples
        --------
        >>> from numpy_bert import BertForMaskedLM
        >>> model = BertForMaskedLM.from_pretrained("demo")
        >>> batch = {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]}
        >>> model.at_labels(batch).logits.shape
        (1, 8000)
        """
        inputs, labels = split_batch(batch, self._targets)
        read = self.bert(**inputs)
        places = self._labelled(labels["labels"], read.last_hidden_state.shape[:2])
        if places is None or not len(places[0]):
            raise InputError("labels: none counts (all are -100), so there is nothing to score.")
        hidden = read.last_hidden_state[places]
        steps = self._run_head(HeadInput(hidden, read.pooler_output))
        found = self._output(steps, None, None)
        self._check(steps, found.scores, hidden)
        return found

    def _labelled(self, labels: npt.ArrayLike | None, shape: tuple[int, ...]) -> Index | None:
        return None if labels is None else places_that_count(labels, shape, self.config.vocab_size)

    def _words(
        self, parameters: BertLMPredictionHeadParameters, read: HeadInput
    ) -> LMPredictionSteps:
        """Run the head that predicts words; in training its largest product in float32."""
        product = decode if read.trains and self.dtype == np.float32 else linear
        return lm_prediction(
            parameters, self.decoder, read.hidden, config=self.config, product=product
        )

    def _words_backward(
        self,
        parameters: BertLMPredictionHeadParameters,
        run: HeadRun[HeadSteps],
        steps: LMPredictionSteps,
    ) -> LMPredictionGradients:
        """Go back through the head that predicts words."""
        return lm_prediction_backward(
            run.score_gradients[0],
            parameters,
            self.decoder,
            run.read.hidden,
            steps,
            config=self.config,
            product_backward=decode_backward if self.dtype == np.float32 else linear_backward,
        )

    def _weights(self) -> dict[str, object]:
        if not self.config.tie_word_embeddings:
            return super()._weights()
        return {**super()._weights(), "embeddings.word_embeddings.weight.": self.decoder}

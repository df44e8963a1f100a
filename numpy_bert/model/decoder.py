"""The head that predicts words, whose decoder is the word table."""

from __future__ import annotations

from functools import cached_property

import numpy.typing as npt

from numpy_bert.arrays import Array
from numpy_bert.blocks.heads import (
    LMPredictionSteps,
)
from numpy_bert.blocks.heads_backward import LMPredictionGradients, lm_prediction_backward
from numpy_bert.model.differentiable import HeadRun, Index
from numpy_bert.model.head import (
    BertWithHead,
    HeadSteps,
    Output,
    Parameters,
    Steps,
)
from numpy_bert.parameters import (
    BertLMPredictionHeadParameters,
)
from numpy_bert.tasks.objectives import (
    places_that_count,
)

__all__ = ["WithDecoder"]


class WithDecoder(BertWithHead[Parameters, HeadSteps, Steps, Output]):
    """A head whose decoder is the word table."""

    @cached_property
    def decoder(self) -> Array:
        """The decoder's weight, (V, H): the word table, widened once where it is stored in half."""
        return self.bert.embeddings.word_embeddings.weight

    def _labelled(self, labels: npt.ArrayLike | None, shape: tuple[int, ...]) -> Index | None:
        return None if labels is None else places_that_count(labels, shape, self.config.vocab_size)

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
        )

    def _weights(self) -> dict[str, object]:
        return {**super()._weights(), "embeddings.word_embeddings.weight.": self.decoder}

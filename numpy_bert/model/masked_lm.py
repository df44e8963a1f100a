"""BERT as a masked language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_bert.blocks.heads import OnlyMLMSteps
from numpy_bert.errors import InputError
from numpy_bert.model.decoder import WithDecoder
from numpy_bert.model.differentiable import HeadInput, HeadRun
from numpy_bert.model.gradients import HeadGradients
from numpy_bert.model.head import (
    States,
)
from numpy_bert.model.outputs import BertSteps, MaskedLMOutput
from numpy_bert.ops.softmax import softmax
from numpy_bert.parameters_heads import (
    BertOnlyMLMHeadParameters,
    MaskedLMParameters,
)
from numpy_bert.tasks.batches import Batch, Cuts, text_batches
from numpy_bert.tasks.fill import Fill, fills, mask_places, target_ids
from numpy_bert.tasks.items import Items, items_of
from numpy_bert.tasks.labels import as_top_k
from numpy_bert.tasks.objectives import Objective, label_objective
from numpy_bert.text.inputs import as_texts

__all__ = ["BertForMaskedLM", "MaskedLMSteps"]

# Masks whose words are scored at a time: 16 MB of scores for a vocabulary of 30522.
_MASKS = 128


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaskedLMSteps:
    """Every intermediate of a BertForMaskedLM."""

    bert: BertSteps
    cls: OnlyMLMSteps


class BertForMaskedLM(WithDecoder[MaskedLMParameters, OnlyMLMSteps, MaskedLMSteps, MaskedLMOutput]):
    """BERT as a masked language model.

    Examples
    --------
    >>> from numpy_bert import BertForMaskedLM
    >>> model = BertForMaskedLM.from_pretrained("demo")
    >>> model([[2, 5, 3]]).logits.shape
    (1, 3, 8000)
    >>> len(model.fill_mask("this is a [MASK] sentence", top_k=3))
    3
    """

    _tree = MaskedLMParameters

    def fill_mask(
        self,
        text: str | Sequence[str],
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
    ) -> list[Any]:
        """Say which words fit where a text has ``[MASK]``.

        Parameters
        ----------
        text : str or sequence of str
            Texts, each with at least one mask. What the model cannot read of a long one is cut,
            which is warned of.
        top_k : int
            Most words for a mask.
        targets : str or sequence of str, optional
            Words of which alone to choose, each a single token of the vocabulary. The scores stay
            what they are among all words.

        Returns
        -------
        list of Fill
            Of one text with one mask, best first: score (a probability), token, token_str,
            sequence. Of a text with several masks a list of such lists, each mask filled for
            itself; of a list of texts a list of either.

        Raises
        ------
        InputError
            If a text has no mask, or would lose one when it is cut; or a target is no token.
        """
        single, items = as_texts(text)
        top_k = as_top_k(top_k)
        only = None if targets is None else target_ids(self.tokenizer, targets)
        cuts = Cuts(self._limit)
        found: list[Any] = [None] * len(items)
        for batch in text_batches(self.tokenizer, items, cuts):
            places = [
                self._places(row.input_ids, "text" if single else f"text[{number}]", items[number])
                for row, number in zip(batch.rows, batch.numbers, strict=True)
            ]
            filled = self._fill(batch, places, top_k, only)
            for number, result in zip(batch.numbers, filled, strict=True):
                found[number] = result[0] if len(result) == 1 else result
        cuts.warn(len(items))
        return found[0] if single else found

    def _places(self, ids: list[int], where: str, item: str) -> list[int]:
        """Return where a text's masks are, none of which may have been cut off."""
        mask_id, mask_token = self.tokenizer.mask_token_id, self.tokenizer.mask_token
        whole = self.tokenizer(item)["input_ids"] if len(ids) == self._limit else ids
        total = len(mask_places(whole, mask_id, where, mask_token))
        if ids.count(mask_id) < total:
            raise InputError(
                f"{where}: has {len(whole)} tokens, the model reads {self._limit}: cutting it "
                f"would lose a {mask_token}. Shorten it."
            )
        return mask_places(ids, mask_id, where, mask_token)

    @np.errstate(all="ignore")
    def _fill(
        self, batch: Batch, places: list[list[int]], top_k: int, only: Any
    ) -> list[list[list[Fill]]]:
        """Score words at the masks of a batch, nowhere else: a row of scores is as long as V."""
        hidden = self.bert(**batch.inputs).last_hidden_state
        flat = [(row, place) for row, masks in enumerate(places) for place in masks]
        found: list[list[list[Fill]]] = [[] for _ in places]
        for start in range(0, len(flat), _MASKS):
            part = flat[start : start + _MASKS]
            rows, columns = np.array(part).T
            read = HeadInput(hidden[rows, columns])
            steps = self._head(read)
            scores = steps.predictions.output
            self._check(steps, (scores,), read.hidden)
            for (row, place), probabilities in zip(part, softmax(scores), strict=True):
                found[row].append(
                    fills(
                        self.tokenizer,
                        batch.rows[row].input_ids,
                        place,
                        probabilities,
                        top_k=top_k,
                        only=only,
                        keep_special=len(places[row]) > 1,
                    )
                )
        return found

    def _head(self, read: HeadInput) -> OnlyMLMSteps:
        return OnlyMLMSteps(predictions=self._words(self.head.cls.predictions, read))

    def _objective(
        self, head: OnlyMLMSteps, labels: Mapping[str, Any], items: Items | None = None
    ) -> Objective:
        count = None if items is None else items_of(items, "labels")
        return label_objective(head.predictions.output, labels["labels"], num_items_in_batch=count)

    def _head_backward(self, run: HeadRun[OnlyMLMSteps]) -> HeadGradients[MaskedLMParameters]:
        words = self._words_backward(self.head.cls.predictions, run, run.steps.predictions)
        return HeadGradients(
            parameters=MaskedLMParameters(
                cls=BertOnlyMLMHeadParameters(predictions=words.parameters)
            ),
            hidden=words.hidden,
            decoder=words.decoder,
        )

    def _steps(self, bert: BertSteps, head: OnlyMLMSteps) -> MaskedLMSteps:
        return MaskedLMSteps(bert=bert, cls=head)

    def _output(self, head: OnlyMLMSteps, states: States, attentions: States) -> MaskedLMOutput:
        return MaskedLMOutput(
            logits=head.predictions.output, hidden_states=states, attentions=attentions
        )

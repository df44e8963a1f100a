"""What of a SentenceEncoder can be read, and what can be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy_bert.encoding.arguments import as_count, as_modes, as_prompt
from numpy_bert.encoding.head import Head
from numpy_bert.encoding.prompts import Prompts, as_prompts
from numpy_bert.encoding.recipe import Recipe
from numpy_bert.encoding.settings import Settings
from numpy_bert.encoding.similarity import check_similarity
from numpy_bert.errors import InputError
from numpy_bert.model.bert import BertModel
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["EncoderAttributes"]


class EncoderAttributes:
    """The attributes of a `SentenceEncoder`.

    Each is a property: what can be set is checked when it is set, and the rest cannot be set. The
    slots keep others out, such as a misspelt one, that nothing would read.
    """

    __slots__ = (
        "_default_prompt_name",
        "_head",
        "_ids",
        "_include_prompt",
        "_lower_case",
        "_max_seq_length",
        "_model",
        "_notes",
        "_pooling",
        "_prompts",
        "_similarity_fn_name",
        "_tokenizer",
        "_truncate_dim",
    )

    def __init__(
        self,
        model: BertModel,
        tokenizer: BertTokenizer,
        recipe: Recipe,
        head: Head,
        settings: Settings,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._lower_case = recipe.lower_case
        self._ids = IdEncoder(tokenizer, lower_case=recipe.lower_case)
        self._notes = recipe.notes
        self._include_prompt = recipe.include_prompt
        self._head = head
        self._pooling = recipe.pooling
        self._default_prompt_name: str | None = None
        self.prompts = settings.prompts
        self.default_prompt_name = settings.default_prompt_name
        self.similarity_fn_name = settings.similarity_fn_name
        kept = settings.truncate_dim
        self.truncate_dim = None if kept is None else min(kept, head.width)
        positions = model.config.max_position_embeddings
        stated = recipe.max_seq_length or tokenizer.model_max_length or positions
        self.max_seq_length = min(stated, positions)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the tokenizer; parts of that are lost when it is pickled."""
        return {name: getattr(self, name) for name in EncoderAttributes.__slots__ if name != "_ids"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._ids = IdEncoder(self._tokenizer, lower_case=self._lower_case)

    @property
    def model(self) -> BertModel:
        """The BERT."""
        return self._model

    @property
    def tokenizer(self) -> BertTokenizer:
        """The BERT's tokenizer."""
        return self._tokenizer

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made of the files, as sentences."""
        return self._notes

    @property
    def prompts(self) -> Prompts:
        """Texts that may be put before a text, by their names; a dict that can be changed."""
        return self._prompts

    @prompts.setter
    def prompts(self, value: Mapping[str, str]) -> None:
        prompts = as_prompts(value)
        if self._default_prompt_name is not None and self._default_prompt_name not in prompts:
            raise InputError(
                f"prompts: has no {self._default_prompt_name!r}, which default_prompt_name names; "
                "set that to None first."
            )
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt that is used where none is named; None for none."""
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, value: str | None) -> None:
        as_prompt(None, value, self._prompts, None)
        self._default_prompt_name = value

    @property
    def similarity_fn_name(self) -> str:
        """How the model's vectors are compared; None sets "cosine"."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | None) -> None:
        self._similarity_fn_name = check_similarity("cosine" if value is None else value)

    @property
    def pooling(self) -> tuple[str, ...]:
        """How the tokens' hidden states become one vector; several are joined."""
        return self._pooling

    @pooling.setter
    def pooling(self, value: str | Sequence[str]) -> None:
        modes = as_modes(value)
        self._head = self._head.fitted(len(modes) * self.model.config.hidden_size, None)
        self._pooling = modes

    @property
    def truncate_dim(self) -> int | None:
        """How many features are kept of a vector; None for all."""
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, value: int | None) -> None:
        self._truncate_dim = as_count(value, "truncate_dim", most=self._head.width)

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text that are read, special ones included; the rest is cut off."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        least, most = self._ids.frame + 1, self.model.config.max_position_embeddings
        number = as_count(value, "max_seq_length", most=most)
        if number is None or number < least:
            raise InputError(
                f"max_seq_length: {value}; from {least}, the special tokens and one more, to "
                f"{most}, the model's positions, were expected."
            )
        self._max_seq_length = number

    def get_embedding_dimension(self) -> int:
        """Return the features of a vector that `encode` makes."""
        return min(self._head.width, self.truncate_dim or self._head.width)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the features of a vector that `encode` makes, by sentence-transformers' name."""
        return self.get_embedding_dimension()

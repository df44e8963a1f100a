"""What all encoders of texts have in common: prompts, the limit of a text, what can be set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from numpy_bert.arguments import as_count
from numpy_bert.encoding.micro_batches import Plan
from numpy_bert.encoding.names import ENCODE
from numpy_bert.encoding.prompts import Prompts, check_prompt_name, document_prompt
from numpy_bert.encoding.recipe import Settings
from numpy_bert.encoding.similarity import check_similarity
from numpy_bert.errors import InputError
from numpy_bert.foreign import check_accepted, no_attribute
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.text.ids import IdEncoder
from numpy_bert.text.inputs import as_texts
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["TextEncoder", "given_texts"]

# The attributes that cannot be set: why, and what to do instead.
_FIXED = {
    "device": "numpy_bert computes on the processor. Leave it as it is.",
    "dtype": "the weights have it. Load another encoder, with dtype=...",
    "model": (
        "the rest of the encoder was made from it. Load another encoder, from a folder with that "
        "model."
    ),
    "tokenizer": (
        "the rest of the encoder was made from it. Change the attributes of encoder.tokenizer, or "
        "load another encoder, from a folder with that tokenizer."
    ),
    "notes": "they say what was made of the files. Read them; nothing depends on them.",
}


class TextEncoder(ABC):
    """Base of what makes a vector of a text: a model, its tokenizer, and its prompts.

    What can be set is a property that checks it; what cannot stands in a table above. The slots
    keep others out, such as a misspelt one, that nothing would read.
    """

    __slots__ = (
        "__weakref__",
        "_default_prompt_name",
        "_ids",
        "_prompts",
        "_similarity_fn_name",
        "_tokenizer_limit",
        "model",
        "notes",
        "tokenizer",
    )

    # What sentence-transformers' class has and ours has not, and what to do.
    _elsewhere: ClassVar[Mapping[str, str]]
    # The attributes that a copy shares, since they have the weights.
    _shared: ClassVar[tuple[str, ...]] = ("model",)
    # How vectors are compared where nobody says it.
    _usual_similarity: ClassVar[str] = "cosine"

    model: Any
    tokenizer: BertTokenizer
    notes: tuple[str, ...]

    @abstractmethod
    def __init__(self, model_name_or_path: str | Path, **settings: Any) -> None: ...

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        mmap: bool = True,
    ) -> Self:
        """Return what the class itself returns for the name, called as the models are.

        Parameters
        ----------
        name_or_path, dtype, revision, cache_dir, local_files_only, token, mmap
            They are those of `BertModel.from_pretrained`.
        """
        return cls(
            name_or_path,
            dtype=dtype,
            mmap=mmap,
            revision=revision,
            cache_folder=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )

    def _prepare(
        self, model: Any, tokenizer: BertTokenizer, settings: Settings, *, lower_case: bool
    ) -> None:
        """Set what does not depend on how vectors are made."""
        self.model = model
        self.tokenizer = copy(tokenizer)  # of which max_seq_length is set
        self._tokenizer_limit = tokenizer.model_max_length
        self._ids = IdEncoder(self.tokenizer, lower_case=lower_case)
        self._default_prompt_name: str | None = None
        # These two are there in every model of sentence-transformers.
        self.prompts = {"query": "", "document": "", **settings.prompts}
        self.default_prompt_name = settings.default_prompt_name
        self.similarity_fn_name = settings.similarity_fn_name

    def _set(self, prompts: Mapping[str, str] | None, **others: object) -> None:
        """Set what the constructor is given in the place of what the files say."""
        if prompts is not None:
            self.prompts = {**self.prompts, **Prompts(prompts)}
        for name, value in others.items():
            if value is not None:
                setattr(self, name, value)

    def _limit_to(self, stated: int | None) -> None:
        """Set max_seq_length to what the files state, or what tokenizer and model take."""
        most = self._most_tokens
        self.max_seq_length = min(stated or self._tokenizer_limit or most, most)

    def __copy__(self) -> Self:
        """Return an encoder with the same weights, whose attributes are its own.

        A tokenizer that two encoders shared would be one limit for both.
        """
        parts = (getattr(self, name) for name in self._shared)
        shared = (*parts, self.tokenizer.backend_tokenizer)
        return deepcopy(self, {id(part): part for part in shared})

    def __getattr__(self, name: str) -> Any:
        """Say what is ours in the place of what sentence-transformers has."""
        raise no_attribute(self, name, self._elsewhere)

    def __setattr__(self, name: str, value: object) -> None:
        self._check_free(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._check_free(name)
        super().__delattr__(name)

    def _check_free(self, name: str) -> None:
        """Raise AttributeError if an attribute is there and cannot be set."""
        if name in _FIXED and hasattr(self, name):
            raise AttributeError(
                f"{type(self).__name__}.{name} cannot be set or deleted, because {_FIXED[name]}"
            )

    @property
    def prompts(self) -> Prompts:
        """Texts that may be put before a text, by their names; a dict that can be changed."""
        return self._prompts

    @prompts.setter
    def prompts(self, value: Mapping[str, str]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(
                f"prompts must be a dict of texts by their names; got {type(value).__name__}."
            )
        prompts = Prompts(value)
        if self._default_prompt_name is not None and self._default_prompt_name not in prompts:
            raise InputError(
                f"prompts must have {self._default_prompt_name!r}, which default_prompt_name "
                "names; set default_prompt_name to None first."
            )
        self._prompts = prompts

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt that is used where none is named; None for none."""
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, value: str | None) -> None:
        if value is not None:
            check_prompt_name(self.prompts, value, "default_prompt_name")
        self._default_prompt_name = value

    @property
    def similarity_fn_name(self) -> str:
        """How the model's vectors are compared; None sets what is usual for its kind."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | None) -> None:
        self._similarity_fn_name = check_similarity(
            self._usual_similarity if value is None else value
        )

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text are read, special ones included; the rest is cut off.

        It is the `model_max_length` of the encoder's tokenizer, as in sentence-transformers. It can
        be set to any number that leaves room for one token, up to the model's positions.
        """
        most = self._most_tokens
        return min(self.tokenizer.model_max_length or most, most)

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        least, most = self._ids.frame + 1, self._most_tokens
        number = as_count("max_seq_length", value, least=least, most=most)
        self.tokenizer.model_max_length = number

    @property
    def _most_tokens(self) -> int:
        """How many tokens the model itself takes."""
        positions: int = self.model.config.max_tokens
        return positions

    @abstractmethod
    def encode(
        self,
        sentences: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Return the vector of a text, or those of several."""

    def encode_query(
        self,
        sentences: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Return what `encode` returns, with the prompt "query" if no other is given.

        Where `prompts` has no "query", as where it has been set to others, it is the prompt that
        `default_prompt_name` names. All arguments are those of `encode`, in its order.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> encoder = SentenceEncoder("demo", prompts={"query": "find: "})
        >>> query = encoder.encode_query("the sea")
        >>> bool((query == encoder.encode("find: the sea")).all())
        True
        """
        if prompt is None and prompt_name is None and "query" in self.prompts:
            prompt_name = "query"
        return self.encode(sentences, prompt_name, prompt, *arguments, **options)

    def encode_document(
        self,
        sentences: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Return what `encode` returns, with the prompt for documents if no other is given.

        It is the first of "document", "passage" and "corpus" that `prompts` has, and without any
        the prompt that `default_prompt_name` names. All arguments are those of `encode`, in its
        order.
        """
        if prompt is None and prompt_name is None:
            prompt_name = document_prompt(self.prompts)
        return self.encode(sentences, prompt_name, prompt, *arguments, **options)

    @property
    def device(self) -> str:
        """Where it computes: "cpu"."""
        return "cpu"

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it computes in."""
        dtype: np.dtype[Any] = self.model.dtype
        return dtype

    def eval(self) -> Self:
        """Return the encoder, which never drops anything out."""
        return self

    def to(self, device: str) -> Self:
        """Return the encoder for the device "cpu", where it is; there is no other."""
        check_accepted(f"{type(self).__name__}.to", {"device": device}, ENCODE)
        return self

    def _plan(self, prompt: str, batch_size: int | None) -> Plan:
        """Return how the texts of a call are cut into micro-batches."""
        return Plan(
            encode_ids=self._ids,
            limit=self.max_seq_length,
            prompt=prompt,
            most_texts=None if batch_size is None else as_count("batch_size", batch_size),
            workers=get_num_threads(),
        )


def given_texts(owner: str, sentences: object, inputs: object) -> tuple[bool, list[str]]:
    """Return whether one text was given, and the texts, by whichever of the two names.

    Parameters
    ----------
    owner : str
        The class that makes vectors of them, for messages.
    sentences, inputs
        What was given under the name that sentence-transformers had before, and has since, its
        version 6.

    Raises
    ------
    InputError
        If both are given, or a text is none; its place is named.

    Examples
    --------
    >>> given_texts("SentenceEncoder", None, ["a test"])
    (False, ['a test'])
    """
    if inputs is not None and sentences is not None:
        raise InputError("sentences and inputs are both given, and are the same; give one of them.")
    name, value = ("sentences", sentences) if inputs is None else ("inputs", inputs)
    if isinstance(value, (list, tuple)):
        for row, item in enumerate(value):
            if isinstance(item, (list, tuple)) and len(item) == 2:
                raise InputError(
                    f"{name}[{row}] is a pair, and a {owner} makes vectors of single texts. "
                    "CrossEncoder(name).predict(pairs) scores pairs."
                )
    return as_texts(value, name)

"""An index opened: texts found by a query, exactly, among as many as the disk holds."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, IntArray
from numpy_bert.corpora.index_files import (
    VECTORS,
    read_description,
    read_texts,
    read_vectors,
)
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.similarity import hits_among, vector_pair
from numpy_bert.errors import CheckpointError, InputError
from numpy_bert.files import as_folder, look
from numpy_bert.messages import must_be, named, quoted
from numpy_bert.reprs import short_repr
from numpy_bert.text.inputs import are_texts, as_texts

if TYPE_CHECKING:
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder

__all__ = ["Index", "IndexHits", "open_index"]

# How far a text's vector may be from the one that is stored, as a share of its length: float16
# makes a thousandth of it, and another model's vector is as far as it is long.
_NEAR = 0.01
_TRIED = 99


class IndexHits(NamedTuple):
    """What `Index.search` returns.

    Attributes
    ----------
    indices : ndarray of shape (k,) or (Q, k), int
        The rows of the index that are most alike, the best first.
    scores : ndarray of the same shape
        Their similarities.
    texts : list of str, or list of list of str
        Their texts.
    """

    indices: IntArray
    scores: Array
    texts: list[str] | list[list[str]]

    def __repr__(self) -> str:
        return short_repr(self)


class Index:
    """Texts and their vectors in a folder that ``numpy-bert encode --index`` has made.

    `open_index` opens one. Nothing is read before it is needed: the vectors are memory-mapped, and
    the model is loaded for the first query that is a text. Threads may share an index.

    Attributes
    ----------
    path : Path
        The folder.
    vectors : ndarray of shape (n, H), float16, float32 or float64
        The vectors, mapped; for "cosine" they have been scaled to length 1.
    texts : sequence of str
        The texts, each read when it is asked for: ``texts[row]``, ``texts[:10]``.
    model, revision : str, str or None
        The model that made the vectors, and its commit if it came from the hub.
    similarity_fn_name : str
        How vectors are compared.
    """

    def __init__(
        self,
        path: Path,
        encoder: SentenceEncoder | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self._description = description = read_description(path)
        self.path = path
        self.vectors = read_vectors(path, description)
        self.texts = read_texts(path, description)
        self.model, self.revision = description.model, description.revision
        self.similarity_fn_name = description.similarity_fn_name
        self._given, self._source = encoder, dict(source or {})
        self._encoder: SentenceEncoder | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Have a copy open the folder again: what is mapped is not to be written down."""
        return type(self), (self.path, self._given, self._source)

    def __repr__(self) -> str:
        commit = f" at {self.revision[:12]}" if self.revision else ""
        return (
            f"Index({len(self):,} texts, {self.vectors.shape[1]} features, {self.vectors.dtype}, "
            f"{self.similarity_fn_name}, {quoted(self.model)}{commit})"
        )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def encoder(self) -> SentenceEncoder:
        """The encoder that makes vectors of queries, with the settings of the index.

        It is loaded at its first use, or made of the one that `open_index` got, which stays as it
        is; and it is tried on one of the texts, so that no other model takes its place.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._checked(self._given or self._loaded())
        return self._encoder

    def search(
        self,
        query: str | Sequence[str] | npt.ArrayLike,
        k: int = 10,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> IndexHits:
        """Return the `k` texts that are most like each query.

        All vectors are compared, a block at a time, in as many threads as there are.

        Parameters
        ----------
        query : str or sequence of str, or array_like of shape (H,) or (Q, H)
            A text or several, which are encoded as by `SentenceEncoder.encode_query`; or vectors.
        k : int
            How many are found, from 1; a smaller index is found whole.
        prompt_name, prompt : str, optional
            What is put before texts, in place of the prompt for queries.

        Returns
        -------
        IndexHits
            indices, scores and texts, of one query (k,), of several (Q, k); where scores are equal,
            the lower row comes first.

        Raises
        ------
        InputError
            If the query has another number of features, or a value is not finite; or another model
            is in the place of the one that the index was made with.
        CheckpointError
            If a file has changed, so that no text stands where one should.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import SentenceEncoder, open_index
        >>> from numpy_bert.corpora import write_index
        >>> encoder, texts = SentenceEncoder("demo"), ["a test", "the sea", "the moon"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     vectors = encoder.encode_document(texts)
        ...     write_index(f"{folder}/index", texts, vectors, encoder, "demo")
        ...     open_index(f"{folder}/index").search("the sea", k=2).texts
        ['the sea', 'the moon']
        """
        if are_texts(query):
            single, texts = as_texts(query, "query")
            query = self._encoded(texts[0] if single else texts, prompt_name, prompt)
        elif prompt is not None or prompt_name is not None:
            raise InputError("prompt and prompt_name are for texts; a vector has no room for one.")
        names = ("query", str(self.path / VECTORS))
        pair = vector_pair(query, self.vectors, names)
        kind = self.similarity_fn_name
        if kind == "cosine":  # its vectors have length 1, so that a product is all
            pair, kind = (normalize(pair[0].astype(pair[2], copy=False)), *pair[1:]), "dot"
        found = hits_among(pair, k, kind, names)
        rows = found.indices.tolist()
        texts_found = [[self.texts[row] for row in some] for some in rows]
        if np.ndim(query) == 1:
            return IndexHits(found.indices[0], found.scores[0], texts_found[0])
        return IndexHits(found.indices, found.scores, texts_found)

    def _encoded(self, texts: Any, prompt_name: str | None, prompt: str | None) -> Array:
        """Return the vectors of queries, made as those of the index."""
        vectors: Array = self.encoder.encode_query(
            texts,
            prompt_name,
            prompt,
            normalize_embeddings=self._description.normalize_embeddings,
        )
        return vectors

    def _loaded(self) -> SentenceEncoder:
        """Load the model from where it is."""
        from numpy_bert.encoding.sentence_encoder import SentenceEncoder

        source = dict(self._source)
        name = source.pop("model_name_or_path", None)
        if name is None:
            name = self.model
            source["revision"] = source.get("revision") or self.revision
            if Path(name).is_absolute() and look(Path(name)) != "folder":
                raise CheckpointError(
                    f"{named(self.path)}: was made with the model in {named(name)}, which is not "
                    "there any more. Say where it is: --model, in Python model_name_or_path."
                )
        return SentenceEncoder(name, **source)

    def _checked(self, given: SentenceEncoder) -> SentenceEncoder:
        """Return an encoder with the settings of the index; InputError if it is another model's."""
        said, encoder = self._description, copy(given)
        try:
            encoder.pooling = said.pooling
            encoder.truncate_dim = said.truncate_dim
            encoder.max_seq_length = said.max_seq_length
        except InputError as failure:
            raise self._another(str(failure)) from None
        if encoder.get_embedding_dimension() != said.width:
            raise self._another(
                f"its vectors have {encoder.get_embedding_dimension()} features, those of the "
                f"index {said.width}"
            )
        if len(self):
            # A text of middling length says enough, and takes no time.
            sizes = self.texts.sizes(_TRIED)
            row = int(np.argsort(sizes, kind="stable")[len(sizes) // 2])
            ways: dict[str, Any] = {
                "prompt": said.prompt,
                "normalize_embeddings": said.normalize_embeddings,
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is cut, as it was before
                made = encoder.encode(self.texts[row], **ways)
            stored = self.vectors[row].astype(np.float64)
            apart, length = (float(np.linalg.norm(v)) for v in (made - stored, stored))
            if not apart <= _NEAR * length:
                raise self._another(f"it makes another vector of the text in row {row}")
        return encoder

    def _another(self, why: str) -> InputError:
        return InputError(
            f"{named(self.path)}: was made with {quoted(self.model)}, and the model that is to "
            f"encode queries is another one ({why}). Name the same model, or make the folder anew."
        )


def open_index(
    path: str | Path,
    *,
    encoder: SentenceEncoder | None = None,
    model_name_or_path: str | Path | None = None,
    dtype: npt.DTypeLike = "float32",
    revision: str | None = None,
    cache_folder: str | Path | None = None,
    local_files_only: bool = False,
    token: bool | str | None = False,
) -> Index:
    """Open a folder of texts and vectors that ``numpy-bert encode --index`` has made.

    Parameters
    ----------
    path : str or Path
        The folder.
    encoder : SentenceEncoder, optional
        An encoder of the model that the folder was made with, if one is loaded already. Its
        settings are neither used nor changed.
    model_name_or_path : str or Path, optional
        Another place of that model, if it is no longer where it was.
    dtype, revision, cache_folder, local_files_only, token
        How the model is loaded, as `SentenceEncoder` takes them; by default it is the commit that
        the folder was made with.

    Returns
    -------
    Index
        The index; `Index.search` searches it.

    Raises
    ------
    CheckpointError
        If the folder is no whole index, or its files do not fit each other.
    InputError
        If an argument is wrong.

    Examples
    --------
    >>> from numpy_bert import open_index
    >>> open_index("nowhere")
    Traceback (most recent call last):
    numpy_bert.errors.CheckpointError: nowhere: does not exist; name the folder that numpy-bert
    encode --index has made.
    """
    folder = as_folder(path, "path")
    if encoder is not None:
        if not hasattr(encoder, "encode_query"):
            raise InputError(must_be("encoder", "a SentenceEncoder", encoder))
        if model_name_or_path is not None:
            raise InputError("encoder and model_name_or_path are both given; give one of the two.")
    source = {
        "model_name_or_path": model_name_or_path,
        "dtype": dtype,
        "revision": revision,
        "cache_folder": cache_folder,
        "local_files_only": local_files_only,
        "token": token,
    }
    return Index(folder, encoder, source)

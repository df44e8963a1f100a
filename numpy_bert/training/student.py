"""A sentence model that learns from another one: knowledge distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, as_array
from numpy_bert.encoding.gradients import SentenceRun
from numpy_bert.encoding.pooling import normalize
from numpy_bert.encoding.saving import save_whole, sentence_files
from numpy_bert.encoding.sentence_encoder import SentenceEncoder
from numpy_bert.encoding.sentence_modules import Dense, PooledModules
from numpy_bert.errors import InputError
from numpy_bert.files import as_folder
from numpy_bert.model.bert import BertModel
from numpy_bert.model.family import AutoModel
from numpy_bert.model.gradients import LossAndGradients, split_batch
from numpy_bert.model.saving import Saveable, bert_parameters
from numpy_bert.ops.activation import identity
from numpy_bert.ops.distillation import cosine_embedding_loss, similarity_preserving_loss
from numpy_bert.parameters import LinearParameters, SentenceStudentParameters, build
from numpy_bert.tasks.items import Items, items_of
from numpy_bert.text.tokenizer import BertTokenizer
from numpy_bert.training.projection import new_projection
from numpy_bert.training.setup import StudentSetup, read_map, read_setup

__all__ = ["SentenceStudent"]

# How much the second loss counts, which is the smaller one.
_SIMILARITY = 10.0
_MEAN = ("mean",)


class SentenceStudent(Saveable):
    """A BERT whose sentence vectors learn to follow a teacher's.

    A vector is the mean of its tokens, taken to the teacher's number of features by a linear map,
    and of length 1, unless the model that it goes on from leaves lengths as they are. So a student
    that has learnt can be put in the place of its teacher: the vectors of both can be compared.

    Parameters
    ----------
    bert : BertModel
        The student; it is trained without a pooler.
    head : SentenceStudentParameters
        The linear map.
    folder : Path
        The folder of the student's checkpoint.
    setup : StudentSetup, optional
        How texts become vectors, beside the weights: prompts, limits, whether vectors are scaled.
        ``setup.prepared(text)`` is a text as the student reads it.

    Notes
    -----
    Training looks at directions alone, whether or not vectors are scaled to length 1 in use, and
    whatever they are compared by: lengths are not learned.

    The loss is the mean of 1 - cos(v, t), so that each vector follows its teacher's, plus 10 times
    the mean of (cos(v_i, v_j) - cos(t_i, t_j))^2 over the pairs of a batch, so that vectors are as
    like each other as the teacher's. Pairs are of texts that are read together: where gradients are
    accumulated, this is the mean over the pairs within each batch of a step, not across them.

    References
    ----------
    .. [1] Reimers and Gurevych, "Making Monolingual Sentence Embeddings Multilingual using
       Knowledge Distillation", arXiv:2004.09813.
    .. [2] Tung and Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> student = SentenceStudent.new(BertModel.from_pretrained("demo"), 3, Path("demo"))
    >>> batch = {"input_ids": [[2, 5, 3]], "labels": [[1.0, 0.0, 0.0]]}
    >>> found = student.loss_and_gradients(batch)
    >>> 0.0 < found.loss < 2.0, found.head.projection.weight.shape
    (True, (3, 128))
    """

    _fixed = frozenset({"bert", "head", "folder", "config", "setup"})

    def __init__(
        self,
        bert: BertModel,
        head: SentenceStudentParameters,
        folder: Path,
        setup: StudentSetup | None = None,
    ) -> None:
        parameters = replace(bert.parameters, pooler=None)  # the vectors do not come from it
        self.bert = type(bert)(bert.config, parameters, bert.loading_info)
        self.head, self.folder, self.config = head, folder, bert.config
        self.setup = StudentSetup() if setup is None else setup

    @classmethod
    def new(cls, bert: BertModel, features: int, folder: Path, *, seed: int = 0) -> SentenceStudent:
        """Put a new map over a model.

        Parameters
        ----------
        bert : BertModel
            The student.
        features : int
            The number of features of the teacher's vectors.
        folder : Path
            The folder of the student's checkpoint.
        seed : int
            The seed of the map, for `numpy_bert.training.projection.new_projection`.

        Raises
        ------
        InputError
            If there is no feature.
        """
        size = bert.config.hidden_size
        projection = new_projection(size, features, bert.dtype, seed=seed)
        return cls(bert, SentenceStudentParameters(projection=projection), folder)

    @classmethod
    def from_folder(
        cls, folder: str | Path, features: int, *, dtype: npt.DTypeLike = "float32", seed: int = 0
    ) -> SentenceStudent:
        """Make a student of a checkpoint, whose vectors are at first those of the checkpoint.

        So a student that was trained, such as "demo", goes on from where it is: with its map, its
        prompts, how many tokens it reads, and whether it scales vectors. A new map is drawn only
        where the teacher has another number of features; vectors then are of length 1.

        Parameters
        ----------
        folder : str or Path
            The student's folder, as `numpy_bert.fetch` returns it.
        features, seed
            The same arguments as those of `new`.
        dtype
            The dtype, as `BertModel.from_pretrained` takes it.

        Raises
        ------
        ConfigError, CheckpointError
            If the checkpoint is at fault, as for `SentenceEncoder.from_pretrained`.
        InputError
            If the checkpoint makes vectors by anything but a mean, a linear map and a Normalize;
            the message names it.

        Warns
        -----
        UserWarning
            If the checkpoint has a map to another number of features, which is replaced.

        Examples
        --------
        >>> from numpy_bert import SentenceEncoder
        >>> from numpy_bert.loading.cache import demo_folder
        >>> student = SentenceStudent.from_folder(demo_folder(), 384)
        >>> encoder = SentenceEncoder.from_pretrained("demo")
        >>> ours = student.encoder(encoder.tokenizer).encode("a test")
        >>> bool(np.array_equal(ours, encoder.encode("a test")))
        True
        """
        setup, recipe = read_setup(Path(folder))
        bert = AutoModel.from_pretrained(recipe.folder, dtype=dtype)
        size, has_dense = bert.config.hidden_size, any(k == "Dense" for k, _ in recipe.behind)
        projection = read_map(recipe, size, features, bert.dtype)
        if projection is None:
            is_drawn = has_dense or features != size
            setup = replace(setup, normalizes=setup.normalizes or is_drawn)
            projection = new_projection(size, features, bert.dtype, seed=seed)
        return cls(bert, SentenceStudentParameters(projection=projection), recipe.folder, setup)

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on beside the weights; a run that goes on must have the same."""
        return {f"setup.{name}": value for name, value in asdict(self.setup).items()}

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the student computes in."""
        return self.bert.dtype

    def with_parameters(self, arrays: Mapping[str, Array]) -> SentenceStudent:
        """Return a student with other arrays, not copied, as that of `BertForMaskedLM` does."""
        config, checked = self.config, self._checked(arrays)
        parameters = bert_parameters(config, checked)
        bert = type(self.bert)(config, parameters, self.bert.loading_info)
        head = build(type(self.head), config, checked.__getitem__, "")
        return SentenceStudent(bert, head, self.folder, self.setup)

    @np.errstate(all="ignore")
    def loss_and_gradients(
        self,
        batch: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
        num_items_in_batch: Items | None = None,
    ) -> LossAndGradients:
        """Return the loss of a batch and the gradients of all parameters.

        Parameters
        ----------
        batch : mapping
            The inputs of a BertModel, by name; and labels (B, E), the teacher's vectors.
        rng : numpy.random.Generator, optional
            The generator that draws dropout's masks; without it dropout is off.
        num_items_in_batch : int or mapping of str to int, optional
            As for `BertForMaskedLM.loss_and_gradients`; a mapping has "vectors" and "pairs".

        Raises
        ------
        InputError
            If an argument does not fit; the message names it, the place, the value and the limit.
        CheckpointError
            If a hidden state is not finite because a weight is not; the weight is named.
        """
        inputs, labels = split_batch(batch, ("labels",))
        run = SentenceRun(self.bert, self.bert.inputs(**inputs), _MEAN, self._map, rng)
        wanted = self._wanted(labels["labels"], len(run.vectors))
        items = self.num_items_in_batch(batch) if num_items_in_batch is None else num_items_in_batch
        vectors, pairs = (items_of(items, name) for name in ("vectors", "pairs"))
        follows = cosine_embedding_loss(run.vectors, wanted, num_items_in_batch=vectors)
        alike = similarity_preserving_loss(run.vectors, wanted, num_items_in_batch=pairs)
        found = run.gradients(follows.scores_gradient + _SIMILARITY * alike.scores_gradient)
        weight, bias = found.modules.values()
        return LossAndGradients(
            loss=follows.output + _SIMILARITY * alike.output,
            bert=found.bert,
            head=SentenceStudentParameters(projection=LinearParameters(weight=weight, bias=bias)),
        )

    def num_items_in_batch(self, batch: Mapping[str, Any]) -> dict[str, int]:
        """Return how many vectors of a batch are compared with a teacher's, and how many pairs.

        B texts that are read together have B^2 pairs, and texts of two batches of a step none: k
        accumulated batches are one batch of their texts in which only these pairs are compared.
        """
        _, labels = split_batch(batch, ("labels",))
        given = as_array(labels["labels"], "labels")
        texts = len(given) if given.ndim else 0  # what has another shape is refused later
        return {"vectors": texts, "pairs": texts**2}

    def encoder(self, tokenizer: BertTokenizer) -> SentenceEncoder:
        """Return what makes sentence vectors of texts, by the weights as they are now.

        Parameters
        ----------
        tokenizer : BertTokenizer
            The student's tokenizer.

        Examples
        --------
        >>> from numpy_bert import BertModel, BertTokenizer
        >>> student = SentenceStudent.new(BertModel.from_pretrained("demo"), 3, Path("demo"))
        >>> student.encoder(BertTokenizer.from_pretrained("demo")).encode("a test").shape
        (3,)
        """
        recipe, settings = self.setup.recipe(self.folder), self.setup.settings
        return SentenceEncoder.from_parts(self.bert, tokenizer, recipe, self._modules, settings)

    def files(self) -> dict[str, bytes]:
        """Return what `save_pretrained` writes beside config.json and model.safetensors.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> student = SentenceStudent.new(BertModel.from_pretrained("demo"), 3, Path("demo"))
        >>> sorted(student.files())[:2]
        ['1_Pooling/config.json', '2_Dense/config.json']
        """
        recipe, settings = self.setup.recipe(self.folder), self.setup.settings
        return sentence_files(recipe, settings, self._modules.modules, None, self.config)

    def save_pretrained(self, save_directory: str | Path, *, force: bool = False) -> None:
        """Save a sentence model: the BERT, and what makes vectors of its tokens.

        `SentenceEncoder` and sentence-transformers load it whole, transformers its BERT.

        Parameters
        ----------
        save_directory, force
            The same arguments as those of `BertModel.save_pretrained`.

        Raises
        ------
        OutputError
            If files are there and `force` is not given, or one cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_bert import BertModel
        >>> student = SentenceStudent.new(BertModel.from_pretrained("demo"), 3, Path("demo"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     student.save_pretrained(folder)
        ...     len(list(Path(folder).iterdir())), (Path(folder) / "modules.json").is_file()
        (9, True)
        """
        folder = as_folder(save_directory, "save_directory")
        save_whole(folder, self.files(), None, self.bert, force=force)

    def saved_in(self, folder: Path) -> SentenceStudent:
        """Return the student that `save_pretrained` has written to a folder."""
        features = len(self.head.projection.weight)
        return SentenceStudent.from_folder(folder, features, dtype=self.dtype)

    @property
    def _modules(self) -> PooledModules:
        """What stands behind the pooling: the map, and what scales vectors."""
        scale = (normalize,) if self.setup.normalizes else ()
        return replace(self._map, modules=(*self._map.modules, *scale))

    @property
    def _map(self) -> PooledModules:
        """The linear map as what stands behind a pooling."""
        map_ = self.head.projection
        dense = Dense(weight=map_.weight, bias=map_.bias, activation=identity)
        return PooledModules(in_features=self.config.hidden_size, modules=(dense,))

    def _wanted(self, labels: npt.ArrayLike, texts: int) -> Array:
        """Return the teacher's vectors, held to (B, E), in the model's dtype."""
        given = np.asarray(labels)
        if given.dtype.kind not in "fiu":
            raise InputError(f"labels must be a teacher's vectors; got dtype {given.dtype}.")
        wanted: Array = given.astype(self.dtype, copy=False)
        features = len(self.head.projection.weight)
        if wanted.shape != (texts, features):
            raise InputError(
                f"labels must have shape {(texts, features)}, a teacher's vector for each text; "
                f"got {wanted.shape}."
            )
        wrong = np.argwhere(~np.isfinite(wanted))
        if len(wrong):
            row, column = map(int, wrong[0])
            raise InputError(
                f"labels[{row}, {column}] must be a finite number; got {wanted[row, column]}."
            )
        return wanted

    def _trees(self) -> dict[str, object]:
        return {"bert.": self.bert.parameters, "": self.head}

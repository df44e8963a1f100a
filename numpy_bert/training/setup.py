"""What makes a student's vectors beside its weights, in the files of sentence-transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.recipe import Recipe, Settings, read_recipe, read_settings
from numpy_bert.encoding.sentence_modules import Dense, read_pooled_modules
from numpy_bert.errors import InputError, OutputError
from numpy_bert.files import check_output
from numpy_bert.loading.modules import SETTINGS, TRANSFORMER_CONFIGS
from numpy_bert.messages import quoted
from numpy_bert.ops.activation import identity
from numpy_bert.parameters import LinearParameters
from numpy_bert.reprs import short_repr

__all__ = ["StudentSetup", "check_places", "read_map", "read_setup", "sentence_files"]

_MODULES = (
    ("", "Transformer"),
    ("1_Pooling", "Pooling"),
    ("2_Dense", "Dense"),
    ("3_Normalize", "Normalize"),
)
_LINEAR = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentSetup:
    """The settings by which texts become vectors, beside the weights.

    Attributes
    ----------
    max_seq_length : int or None
        How many tokens of a text are read; None for as many as tokenizer and model take.
    lower_case : bool
        Whether texts are lower-cased before anything else.
    include_prompt : bool
        Whether the tokens of a prompt are in the mean.
    settings : Settings
        Prompts, how vectors are compared, how many features are kept.
    normalizes : bool
        Whether vectors are scaled to length 1, after the map.
    """

    __repr__ = short_repr

    max_seq_length: int | None = None
    lower_case: bool = False
    include_prompt: bool = True
    settings: Settings = field(default_factory=Settings)
    normalizes: bool = True

    def recipe(self, folder: Path) -> Recipe:
        """Return the recipe of a SentenceEncoder for the model in a folder."""
        return Recipe(
            folder=folder,
            max_seq_length=self.max_seq_length,
            lower_case=self.lower_case,
            include_prompt=self.include_prompt,
        )

    def prepared(self, text: str) -> str:
        """Return a text as it is tokenized: with the default prompt, lower-cased if need be.

        Examples
        --------
        >>> settings = Settings(prompts={"query": "Query: "}, default_prompt_name="query")
        >>> StudentSetup(settings=settings, lower_case=True).prepared("A cat")
        'query: a cat'
        """
        name = self.settings.default_prompt_name
        whole = text if name is None else self.settings.prompts[name] + text
        if not self.lower_case:
            return whole
        from tokenizers.normalizers import Lowercase

        return str(Lowercase().normalize_str(whole))

    def files(self) -> dict[str, bytes]:
        """Return the files of sentence-transformers that hold these settings, by their names.

        Both are written whatever they hold, since others may stand in the folder.

        Examples
        --------
        >>> sorted(StudentSetup().files())
        ['config_sentence_transformers.json', 'sentence_bert_config.json']
        """
        settings = self.settings
        stated: dict[str, Any] = {
            "model_type": "SentenceTransformer",
            "prompts": dict(settings.prompts),
            "default_prompt_name": settings.default_prompt_name,
            "similarity_fn_name": settings.similarity_fn_name,
        }
        if settings.truncate_dim is not None:
            stated["truncate_dim"] = settings.truncate_dim
        reads = {"max_seq_length": self.max_seq_length, "do_lower_case": self.lower_case}
        return {SETTINGS: _as_json(stated), TRANSFORMER_CONFIGS[0]: _as_json(reads)}


def read_setup(folder: Path) -> tuple[StudentSetup, Recipe]:
    """Read the settings of a sentence model that is to be a student, and the recipe of its layers.

    Raises
    ------
    ConfigError
        If `SentenceEncoder.from_pretrained` would raise it.
    InputError
        If its vectors are made in a way that a student cannot go back through.
    """
    recipe, settings = read_recipe(folder), read_settings(folder)
    if recipe.pooling != ("mean",):
        raise _refused(folder, f"pools by {' and '.join(recipe.pooling)}", "the mean of the tokens")
    name = settings.default_prompt_name
    if name is not None and settings.prompts[name] and not recipe.include_prompt:
        raise _refused(
            folder,
            f"leaves the tokens of its prompt {quoted(name)} out of the mean (include_prompt)",
            "the mean of all tokens",
        )
    if recipe.layers is not None:
        raise _refused(folder, "pools its layers (WeightedLayerPooling)", "the last layer")
    kinds = [kind for kind, _ in recipe.behind]
    before_dense = kinds[: kinds.index("Dense")] if "Dense" in kinds else []
    if kinds.count("Dense") > 1 or before_dense or "LayerNorm" in kinds:
        raise _refused(
            folder, f"has {', '.join(kinds)} behind its pooling", "one Dense, then a Normalize"
        )
    setup = StudentSetup(
        max_seq_length=recipe.max_seq_length,
        lower_case=recipe.lower_case,
        include_prompt=recipe.include_prompt,
        settings=settings,
        normalizes="Normalize" in kinds,
    )
    return setup, recipe


def read_map(
    recipe: Recipe, size: int, features: int, dtype: np.dtype[Any]
) -> LinearParameters | None:
    """Return the map of a sentence model to so many features, None where one must be drawn.

    Parameters
    ----------
    recipe : Recipe
        The recipe that `read_setup` returned.
    size, features : int
        How many features the model's tokens have, and its teacher's vectors.
    dtype : dtype
        The dtype of the map.

    Raises
    ------
    InputError
        If the model's dense layer is more than a linear map.

    Warns
    -----
    UserWarning
        If the model has a map to another number of features, which is not used then.
    """
    modules = read_pooled_modules(recipe, size, dtype, mapped=False).modules
    layers = [module for module in modules if isinstance(module, Dense)]
    if not layers:
        return None
    layer = layers[0]
    if layer.activation is not identity or layer.residual is not None or layer.adds_input:
        what = "adds its input" if layer.activation is identity else "has an activation"
        raise _refused(recipe.folder, f"has a Dense that {what}", "a Dense that is a linear map")
    if len(layer.weight) != features:
        warnings.warn(
            f"{recipe.folder}: its map to {len(layer.weight)} features is replaced by a new one to "
            f"the teacher's {features}.",
            stacklevel=3,
        )
        return None
    bias: Array = np.zeros(features, dtype) if layer.bias is None else layer.bias
    return LinearParameters(weight=layer.weight, bias=bias)


def sentence_files(
    projection: LinearParameters, *, normalizes: bool = True, include_prompt: bool = True
) -> dict[str, bytes]:
    """Return the files that make a BERT a sentence model, as sentence-transformers stores them.

    Parameters
    ----------
    projection : LinearParameters
        The map from the mean of the tokens to the vector, in the dtype that is to be stored.
    normalizes : bool
        Whether the vector is scaled to length 1 after it.
    include_prompt : bool
        Whether the tokens of a prompt are in the mean.

    Returns
    -------
    dict of str to bytes
        The files, by their names in the model's folder.

    Examples
    --------
    >>> sorted(sentence_files(LinearParameters(weight=np.eye(2), bias=np.zeros(2))))
    ['1_Pooling/config.json', '2_Dense/config.json', '2_Dense/model.safetensors', 'modules.json']
    """
    from safetensors.numpy import save

    outs, ins = projection.weight.shape
    listed = [
        {"idx": n, "name": f"{n}", "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(_MODULES if normalizes else _MODULES[:-1])
    ]
    pooling = {"word_embedding_dimension": ins, "pooling_mode_mean_tokens": True}
    pooling |= {f"pooling_mode_{mode}": False for mode in ("cls_token", "max_tokens")}
    pooling |= {} if include_prompt else {"include_prompt": False}
    dense = {"in_features": ins, "out_features": outs, "bias": True, "activation_function": _LINEAR}
    tensors = {"linear.weight": projection.weight, "linear.bias": projection.bias}
    # Contiguous, because safetensors 0.8 writes a transposed array's values in the wrong order.
    ready = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return {
        "modules.json": _as_json(listed),
        "1_Pooling/config.json": _as_json(pooling),
        "2_Dense/config.json": _as_json(dense),
        "2_Dense/model.safetensors": save(ready, {"format": "pt"}),
    }


def check_places(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Make the folders of files that are to be written; raise OutputError if that cannot be."""
    try:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        place = failure.filename or folder
        raise OutputError(f"{place}: cannot be made ({failure.strerror}).") from None
    for name in files:
        check_output(folder / name, force=force)


def _refused(folder: Path, what: str, wanted: str) -> InputError:
    """Return the error that says what a student cannot go on from."""
    return InputError(
        f"{folder}: {what}; a student goes on from a model with {wanted} alone. "
        "SentenceStudent.new puts a new map over its BERT, which is another model."
    )


def _as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()

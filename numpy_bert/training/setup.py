"""What makes a student's vectors beside its weights, in the files of sentence-transformers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from numpy_bert.arrays import Array
from numpy_bert.encoding.recipe import Recipe, Settings, read_recipe, read_settings
from numpy_bert.encoding.sentence_modules import Dense, read_pooled_modules
from numpy_bert.errors import InputError
from numpy_bert.messages import quoted
from numpy_bert.ops.activation import identity
from numpy_bert.parameters import LinearParameters
from numpy_bert.reprs import short_repr

__all__ = ["StudentSetup", "read_map", "read_setup"]


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


def _refused(folder: Path, what: str, wanted: str) -> InputError:
    """Return the error that says what a student cannot go on from."""
    return InputError(
        f"{folder}: {what}; a student goes on from a model with {wanted} alone. "
        "SentenceStudent.new puts a new map over its BERT, which is another model."
    )

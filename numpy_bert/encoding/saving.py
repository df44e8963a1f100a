"""The files of sentence-transformers that say how a BERT makes vectors of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy_bert.arrays import Array
from numpy_bert.config import BertConfig
from numpy_bert.encoding.pooling import MODES
from numpy_bert.encoding.recipe import SWITCHES, Recipe, Settings
from numpy_bert.encoding.sentence_modules import Dense, LayerNorm, WeightedLayerPooling
from numpy_bert.errors import OutputError
from numpy_bert.files import check_output, encode_json, make_folder, read_json, write_atomically
from numpy_bert.loading.checkpoint import SINGLE
from numpy_bert.loading.modules import MODULES, SETTINGS, TRANSFORMER_CONFIGS
from numpy_bert.model.saving import Saveable, tensors_file
from numpy_bert.tasks.activations import name_of_activation
from numpy_bert.text.tokenizer import BertTokenizer

__all__ = ["add_all_states", "save_whole", "sentence_files", "stated_settings"]

_Files = Mapping[str, bytes]


def sentence_files(
    recipe: Recipe,
    settings: Settings,
    modules: Sequence[Callable[[Array], Array]],
    layers: WeightedLayerPooling | None,
    config: BertConfig,
) -> dict[str, bytes]:
    """Return the files that make a BERT a sentence model, by their names in its folder.

    They are spelled as every version of sentence-transformers reads them, where an older one has
    the module at all.

    Parameters
    ----------
    recipe : Recipe
        The limit, the lower-casing, the pooling, and whether a prompt is pooled.
    settings : Settings
        The settings of the whole model.
    modules : sequence of callable
        What stands behind the pooling: Dense layers, LayerNorms and `normalize`.
    layers : WeightedLayerPooling, optional
        What stands before it.
    config : BertConfig
        The BERT's config.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> config, recipe = BertModel.from_pretrained("demo").config, Recipe(folder=Path("demo"))
    >>> sorted(sentence_files(recipe, Settings(), [], None, config))[:2]
    ['1_Pooling/config.json', 'config_sentence_transformers.json']
    """
    kinds = ["Transformer"]
    found: dict[str, bytes] = {}
    if layers is not None:
        stated = {
            "word_embedding_dimension": config.hidden_size,
            "layer_start": layers.start,
            "num_hidden_layers": config.num_hidden_layers,
        }
        weights = {"layer_weights": layers.weight}
        found |= _module(kinds, "WeightedLayerPooling", stated, weights)
    found |= _module(kinds, "Pooling", _pooling(recipe, config.hidden_size), {})
    for module in modules:
        if isinstance(module, Dense):
            found |= _module(kinds, "Dense", *_dense(module))
        elif isinstance(module, LayerNorm):
            arrays = {"norm.weight": module.weight, "norm.bias": module.bias}
            found |= _module(kinds, "LayerNorm", {"dimension": module.in_features}, arrays)
        else:
            kinds.append("Normalize")
    listed = [
        {
            "idx": number,
            "name": f"{number}",
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    reads = {"max_seq_length": recipe.max_seq_length, "do_lower_case": recipe.lower_case}
    own = {TRANSFORMER_CONFIGS[0]: reads, SETTINGS: stated_settings(settings)}
    return {MODULES: encode_json(listed), **{k: encode_json(v) for k, v in own.items()}, **found}


def save_whole(
    folder: Path,
    files: _Files,
    tokenizer: BertTokenizer | None,
    model: Saveable,
    *,
    force: bool,
) -> None:
    """Save a model, its tokenizer, and the files beside them.

    Parameters
    ----------
    folder : Path
        The folder, which is made if it is not there.
    files : mapping of str to bytes
        The files, by their names in the folder.
    tokenizer : BertTokenizer, optional
        The tokenizer; the model saves its own without one.
    model : BertModel, or a model with a head
        The model.
    force : bool
        Whether files that are there are replaced.

    Raises
    ------
    OutputError
        If one is there and `force` is not given, before any is written; or if one cannot be.
    """
    for name in files:
        make_folder((folder / name).parent)
    for name in (*files, "config.json", SINGLE):
        check_output(folder / name, force=force)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder, force=force)
    for name, content in files.items():
        write_atomically(folder / name, content)
    # The weights come last: a folder that lacks them is not taken for a plain BERT.
    model.save_pretrained(folder, force=force)


def add_all_states(path: Path) -> None:
    """Say in a BERT's config.json that all layers' states are wanted, as a module of theirs needs.

    sentence-transformers gives a WeightedLayerPooling nothing to work on otherwise.
    """
    stated = read_json(path, error=OutputError) | {"output_hidden_states": True}
    write_atomically(path, encode_json(stated))


def _module(
    kinds: list[str], kind: str, stated: Mapping[str, Any], arrays: Mapping[str, Array]
) -> dict[str, bytes]:
    """Return the files of a module, which is added to those that there are."""
    folder = f"{len(kinds)}_{kind}"
    kinds.append(kind)
    found = {f"{folder}/config.json": encode_json(stated)}
    if arrays:
        found[f"{folder}/{SINGLE}"] = tensors_file(arrays, {"format": "pt"})
    return found


def _pooling(recipe: Recipe, hidden_size: int) -> dict[str, Any]:
    """Return the config of a Pooling: the old switches, unless the modes have another order."""
    stated: dict[str, Any] = {"word_embedding_dimension": hidden_size}
    modes = recipe.pooling
    if modes == tuple(mode for mode in MODES if mode in modes):
        stated |= {switch: mode in modes for switch, mode in SWITCHES.items()}
    else:
        longer = {"mean_sqrt_len": "mean_sqrt_len_tokens"}
        stated["pooling_mode"] = [longer.get(mode, mode) for mode in modes]
    return {**stated, "include_prompt": recipe.include_prompt}


def _dense(layer: Dense) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the config and the arrays of a Dense."""
    stated: dict[str, Any] = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": layer.bias is not None,
        "activation_function": name_of_activation(layer.activation),
    }
    if layer.adds_input or layer.residual is not None:  # which older versions do not know
        stated["use_residual"] = True
    arrays = {
        "linear.weight": layer.weight,
        "linear.bias": layer.bias,
        "residual.weight": layer.residual,
    }
    return stated, {name: array for name, array in arrays.items() if array is not None}


def stated_settings(settings: Settings, kind: str = "SentenceTransformer") -> dict[str, Any]:
    """Return what config_sentence_transformers.json states of a model of this kind."""
    stated: dict[str, Any] = {
        "model_type": kind,
        "prompts": dict(settings.prompts),
        "default_prompt_name": settings.default_prompt_name,
        "similarity_fn_name": settings.similarity_fn_name,
    }
    for name in ("truncate_dim", "max_active_dims"):
        if getattr(settings, name) is not None:
            stated[name] = getattr(settings, name)
    return stated

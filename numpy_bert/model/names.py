"""What the hands of transformers' users type: taken where it asks for what happens anyway.

Anything else is one line that says what to use here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy_bert.config import BertConfig
from numpy_bert.errors import InputError
from numpy_bert.messages import must_be, quoted

__all__ = ["check_config", "check_loading", "check_return_dict", "hint"]

# Arguments of transformers' from_pretrained: what may be given, and what to use for the rest.
_LOADING: Mapping[str, tuple[tuple[object, ...], str]] = MappingProxyType(
    {
        "add_pooling_layer": ((True,), "The pooler is loaded where there is one; it may be left."),
        "attn_implementation": ((None, "eager", "sdpa"), "Attention is computed in one way."),
        "config": ((None,), "num_labels=, id2label= and problem_type= change what it says."),
        "device_map": ((None, "auto", "cpu"), "Models run on the CPU."),
        "force_download": ((False,), "numpy_bert.fetch(name) brings a model up to date."),
        "ignore_mismatched_sizes": (
            (False,),
            "numpy_bert.training.new_classifier puts a new head over a BertModel.",
        ),
        "low_cpu_mem_usage": ((None, False, True), "Files are mapped; mmap=False copies them."),
        "output_attentions": ((None, False), "Give it to the call: model(..., ...=True)."),
        "output_hidden_states": ((None, False), "Give it to the call: model(..., ...=True)."),
        "output_loading_info": ((False,), "It is model.loading_info."),
        "quantization_config": ((None,), "Models compute in float32 or float64."),
        "return_dict": ((None, True), "output.to_tuple() makes a tuple of an output."),
        "subfolder": (("",), "Name the folder itself: fetch(name) / subfolder."),
        "torch_dtype": ((None,), "Its name is dtype: 'float32' or 'float64'."),
        "trust_remote_code": ((None, False), "Code of a checkpoint is never run."),
        "use_auth_token": ((None, False), "Its name is token."),
        "use_safetensors": ((None, True), "Nothing else is read."),
        "weights_only": ((None, True), "Nothing else is read."),
    }
)
_WEIGHTS = "named_parameters() yields every weight with its name"
_TRAINING = (
    "numpy_bert.training.Trainer trains it, loss_and_gradients(batch, rng=...) is a step of it; "
    "dropout is on in a call with rng="
)
_STEPS = "steps(...) and trace(...) return every intermediate by name"
_DEVICE = "it runs on the CPU; from_pretrained(dtype=...) takes 'float32' or 'float64'"
# What torch's and transformers' models have and ours have not, and what to use.
_TORCH: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("state_dict", "buffers", "named_buffers"), _WEIGHTS),
        **dict.fromkeys(("train", "training", "zero_grad", "requires_grad_"), _TRAINING),
        **dict.fromkeys(("modules", "named_modules", "children", "named_children"), _STEPS),
        **dict.fromkeys(("register_forward_hook", "get_submodule"), _STEPS),
        **dict.fromkeys(("cuda", "half", "bfloat16", "float", "double"), _DEVICE),
        "compile": "a call is as fast as it gets",
        "forward": "call the model: model(input_ids, ...)",
        "get_input_embeddings": "the BertModel has them: embeddings.word_embeddings",
        "parameters": f"{_WEIGHTS}, and numpy_bert.training.Trainer trains them",
        "load_state_dict": "from_pretrained(folder) loads weights; with_parameters(arrays) of a "
        "model with a head takes them",
        "push_to_hub": "save_pretrained(folder) writes what the hub takes",
        "resize_token_embeddings": "the vocabulary is the checkpoint's",
    }
)


def hint(name: str) -> str | None:
    """Return what to use in place of an attribute of torch's models; None for other names.

    Examples
    --------
    >>> hint("forward")
    'call the model: model(input_ids, ...)'
    """
    return _TORCH.get(name)


def check_loading(where: str, others: Mapping[str, Any]) -> None:
    """Raise an error for arguments of transformers' from_pretrained that ask for anything new.

    Examples
    --------
    >>> check_loading("BertModel.from_pretrained", {"device_map": "cpu"})
    >>> check_loading("BertModel.from_pretrained", {"device_map": "cuda"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    numpy_bert.errors.InputError: BertModel.from_pretrained: device_map='cuda' is not supported. ...
    """
    for name, value in others.items():
        if name not in _LOADING:
            raise TypeError(f"{where}() got an unexpected keyword argument {quoted(repr(name))}")
        taken, instead = _LOADING[name]
        if not any(value is one or str(value) == one for one in taken):
            raise InputError(
                f"{where}: {name}={quoted(repr(value))} is not supported. "
                f"{instead.replace('...=', f'{name}=')}"
            )


def check_return_dict(value: object) -> None:
    """Raise InputError for ``return_dict=False``, the tuple in place of an output."""
    if value not in (None, True):
        raise InputError(f"{must_be('return_dict', 'True', value)} output.to_tuple() is the tuple.")


def check_config(owner: str, config: object) -> None:
    """Raise InputError where a model is made of what is no config, as of a checkpoint's name."""
    if not isinstance(config, BertConfig):
        raise InputError(
            f"{owner}(...) makes a model of a BertConfig; got {quoted(repr(config))}. "
            f"{owner}.from_pretrained(name) loads a checkpoint."
        )

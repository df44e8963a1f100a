"""The names of transformers and torch that change nothing here, or are not here: what to use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.config import BertConfig
from numpy_bert.errors import ConfigError, InputError
from numpy_bert.foreign import Accepted
from numpy_bert.messages import shown, with_article

__all__ = ["CALL", "LOADING", "TORCH", "check_config", "check_type"]

_ONCE = "Attention is computed in one way."
_NEW = "numpy_bert.training.new_classifier puts a new head over a BertModel."
_NO_OTHER = "Nothing else is read."
_TUPLE = Accepted((True, None), "output.to_tuple() is the tuple.")
# Arguments of a call, and of from_pretrained.
CALL: Mapping[str, Accepted] = MappingProxyType({"return_dict": _TUPLE})
LOADING: Mapping[str, Accepted] = MappingProxyType(
    {
        "add_pooling_layer": Accepted((True,), "The pooler is loaded where there is one."),
        "attn_implementation": Accepted((None, "eager", "sdpa"), _ONCE),
        "config": Accepted((None,), "num_labels=, id2label= and problem_type= change it."),
        "device_map": Accepted((None, "auto", "cpu"), "Models run on the CPU."),
        "force_download": Accepted((False,), "numpy_bert.fetch(name) brings a model up to date."),
        "ignore_mismatched_sizes": Accepted((False,), _NEW),
        "low_cpu_mem_usage": Accepted(
            (None, False, True), "Files are mapped; mmap=False copies them."
        ),
        "output_attentions": Accepted(
            (None, False), "Give it to the call: model(..., output_attentions=True)."
        ),
        "output_hidden_states": Accepted(
            (None, False), "Give it to the call: model(..., output_hidden_states=True)."
        ),
        "output_loading_info": Accepted((False,), "It is model.loading_info."),
        "quantization_config": Accepted((None,), "Models compute in float32 or float64."),
        "return_dict": _TUPLE,
        "subfolder": Accepted(("",), "Name the folder itself: fetch(name) / subfolder."),
        "torch_dtype": Accepted((None,), "Its name is dtype: 'float32' or 'float64'."),
        "trust_remote_code": Accepted((None, False), "Code of a checkpoint is never run."),
        "use_auth_token": Accepted((None, False), "Its name is token."),
        "use_safetensors": Accepted((None, True), _NO_OTHER),
        "weights_only": Accepted((None, True), _NO_OTHER),
    }
)
_WEIGHTS = "named_parameters() yields every weight with its name"
_TRAINING = (
    "numpy_bert.training.Trainer trains it, loss_and_gradients(batch, rng=...) is a step of it; "
    "dropout is on in a call with rng=."
)
_STEPS = "steps(...) and trace(...) return every intermediate by name."
_DEVICE = "It runs on the CPU; from_pretrained(dtype=...) takes 'float32' or 'float64'."
# What their models have and ours have not, and what to do.
TORCH: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("state_dict", "buffers", "named_buffers"), f"{_WEIGHTS}."),
        **dict.fromkeys(("train", "training", "zero_grad", "requires_grad_"), _TRAINING),
        **dict.fromkeys(("modules", "named_modules", "children", "named_children"), _STEPS),
        **dict.fromkeys(("register_forward_hook", "get_submodule"), _STEPS),
        **dict.fromkeys(("cuda", "half", "bfloat16", "float", "double"), _DEVICE),
        "compile": "A call is as fast as it gets.",
        "forward": "Call the model: model(input_ids, ...).",
        "get_input_embeddings": "The BertModel has them: embeddings.word_embeddings.",
        "parameters": f"{_WEIGHTS}, and numpy_bert.training.Trainer trains them.",
        "load_state_dict": "from_pretrained(folder) loads weights; with_parameters(arrays) of a "
        "model with a head takes them.",
        "push_to_hub": "save_pretrained(folder) writes what the hub takes.",
        "resize_token_embeddings": "The vocabulary is the checkpoint's.",
    }
)


def check_config(owner: str, config: object) -> BertConfig:
    """Raise InputError where a model is made of what is no config, as of a checkpoint's name."""
    if not isinstance(config, BertConfig):
        raise InputError(
            f"{owner}(...) makes a model of a BertConfig; got {shown(config)}. "
            f"{owner}.from_pretrained(name) loads a checkpoint."
        )
    return config


def check_type(owner: str, model_type: str, config: BertConfig, where: str) -> None:
    """Raise ConfigError unless a config is of the architecture of a class.

    Parameters
    ----------
    owner, model_type : str
        The class, and its architecture.
    config : BertConfig
        The config of what it is to load, or to be made of.
    where : str
        What messages call that.

    Examples
    --------
    >>> check_type("BertModel", "bert", BertConfig(model_type="electra"), "config.json")
    Traceback (most recent call last):
    numpy_bert.errors.ConfigError: config.json: is of an ELECTRA (model_type = 'electra'), and \
BertModel is for a BERT. Use ElectraModel or AutoModel.
    """
    if config.model_type == model_type:
        return
    entry, end = config.architecture, owner[owner.find("For") :] if "For" in owner else "Model"
    classes = entry.class_names(end)
    if classes:
        instead = f"{', '.join(classes)} or AutoModel{end.removeprefix('Model')}"
    else:
        instead = f"{' or '.join(entry.class_names('Model'))}, as it has no such head"
    raise ConfigError(
        f"{where}: is of {with_article(entry.name)} (model_type = {config.model_type!r}), and "
        f"{owner} is for {with_article(ARCHITECTURES[model_type].name)}. Use {instead}."
    )

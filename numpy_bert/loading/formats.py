"""What a model has instead of safetensors, and how to make them of it elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from numpy_bert.messages import quoted

__all__ = ["converted", "instead_of_safetensors", "is_pickle"]

# What is pickled beside a model's weights: a trainer's state.
_TRAINERS = ("training_args.bin", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*")
# By the patterns of their names: what to say of a file, and transformers' option that reads it.
_OTHERS = (
    (
        ("*.h5", "*.ckpt.index", "*.ckpt.meta", "*.ckpt.data-*"),
        "only TensorFlow's weights ({}), which are not read",
        "from_tf",
    ),
    (("*.msgpack",), "only Flax's weights ({}), which are not read", "from_flax"),
    (("*.onnx",), "its weights in {}, an ONNX file, which is not read", ""),
    (("*openvino*.xml",), "its weights in {}, an OpenVINO file, which is not read", ""),
    (("*.gguf",), "its weights in {}, a GGUF file, which is not read", ""),
)


def is_pickle(name: str) -> bool:
    """Tell whether a file is by its name a model's weights, pickled by torch.

    Examples
    --------
    >>> [is_pickle(name) for name in ("pytorch_model.bin", "optimizer.pt", "onnx/model.onnx")]
    [True, False, False]
    """
    own = name.rpartition("/")[2]
    if "openvino" in own or any(fnmatchcase(own, pattern) for pattern in _TRAINERS):
        return False
    return own.endswith((".bin", ".pt", ".pth", ".ckpt"))


def instead_of_safetensors(names: Iterable[str], model: str) -> str:
    """Say what weights there are in the place of safetensors, and what to do.

    Parameters
    ----------
    names : iterable of str
        All files of a folder or repository that has no safetensors.
    model : str
        The folder or repository.

    Returns
    -------
    str
        What follows "X has"; "" where there are no weights of a kind that is known.

    Examples
    --------
    >>> instead_of_safetensors(["config.json", "onnx/model.onnx"], "a/b").partition(". ")[0]
    'its weights in onnx/model.onnx, an ONNX file, which is not read'
    """
    # What stands in no folder is the model's own.
    found = sorted(names, key=lambda name: (name.count("/"), name))
    sentence = "modules.json" in found
    pickles = [name for name in found if is_pickle(name)]
    if pickles:
        return (
            f"only pickled weights ({quoted(pickles[0])}), which are refused, since opening a "
            f"pickle runs whatever code is in it. {converted(model, sentence=sentence)}"
        )
    for patterns, what, option in _OTHERS:
        of_kind = [name for name in found if any(fnmatchcase(name, p) for p in patterns)]
        if of_kind and option:
            return f"{what.format(quoted(of_kind[0]))}. {converted(model, option)}"
        if of_kind:
            return (
                f"{what.format(quoted(of_kind[0]))}. Name the checkpoint that it was made from, "
                "with model.safetensors."
            )
    return ""


def converted(model: str, option: str = "", *, sentence: bool = False) -> str:
    """Say in two lines of Python how a model is converted where torch is installed.

    Parameters
    ----------
    model : str
        The folder or repository.
    option : str
        transformers' option by which other weights than torch's are read; its version 4 has it.
    sentence : bool
        Whether it is a model of sentence-transformers.

    Examples
    --------
    >>> print(converted("someone/model", sentence=True))
    Convert it elsewhere, where sentence-transformers is installed and its files are trusted:
      from sentence_transformers import SentenceTransformer
      SentenceTransformer('someone/model').save_pretrained('converted')
    """
    source = repr(model)
    if sentence and not option:
        library, kind = "sentence-transformers", "SentenceTransformer"
        lines = [
            f"from sentence_transformers import {kind}",
            f"{kind}({source}).save_pretrained('converted')",
        ]
    else:
        library = "transformers 4" if option else "transformers"
        more = f", {option}=True" if option else ""
        lines = [
            f"AutoModel.from_pretrained({source}{more}).save_pretrained('converted')"
            "  # for a head: AutoModelForMaskedLM, ...",
            f"AutoTokenizer.from_pretrained({source}).save_pretrained('converted')",
        ]
    where = f"Convert it elsewhere, where {library} is installed and its files are trusted"
    return "\n  ".join([f"{where}:", *lines])

"""The names of sentence-transformers that change nothing here, or stand elsewhere: what to use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from numpy_bert.foreign import Accepted

__all__ = [
    "CONSTRUCTOR",
    "CROSS_ENCODER",
    "ENCODE",
    "SAVE",
    "SENTENCE_ENCODER",
    "SPARSE_ENCODE",
    "SPARSE_ENCODER",
]

_THREADS = "Texts are encoded in threads; set_num_threads(n) says in how many."
_DEVICE = Accepted((None, "cpu"), f"numpy_bert computes on the processor. {_THREADS}")
_ARRAYS = "Vectors are NumPy arrays; torch.from_numpy(vectors) makes a tensor of one."
_FLOAT32 = ("float32", "torch.float32")
_MODEL = Accepted(
    (None,),
    "Give dtype='float32' or dtype='float64'.",
    {"dtype": _FLOAT32, "torch_dtype": _FLOAT32, "attn_implementation": ("eager", "sdpa")},
)
_TOKENIZER = Accepted(
    (None,),
    "Set encoder.max_seq_length, or an attribute of encoder.tokenizer.",
    {"use_fast": ("True",)},
)
CONSTRUCTOR: Mapping[str, Accepted] = MappingProxyType(
    {
        "device": _DEVICE,
        "trust_remote_code": Accepted((False, None), "Code in a repository is never run."),
        "backend": Accepted((None, "torch"), "numpy_bert computes in NumPy; leave it out."),
        "modules": Accepted((None,), "Name the folder or the repository of a sentence model."),
        "model_kwargs": _MODEL,
        "processor_kwargs": _TOKENIZER,
        "tokenizer_kwargs": _TOKENIZER,
        "config_kwargs": Accepted((None,), "Change the config.json in the model's folder.", {}),
        "model_card_data": Accepted((None,), "numpy_bert writes no model cards."),
        "use_auth_token": Accepted((None,), "It is called token, as in sentence-transformers."),
    }
)
ENCODE: Mapping[str, Accepted] = MappingProxyType(
    {
        "convert_to_numpy": Accepted((True,), _ARRAYS),
        "convert_to_tensor": Accepted((False,), _ARRAYS),
        "device": _DEVICE,
        "pool": Accepted((None,), _THREADS),
        "chunk_size": Accepted((None,), _THREADS),
    }
)
SPARSE_ENCODE: Mapping[str, Accepted] = MappingProxyType(
    {
        "save_to_cpu": Accepted((True, False), "Vectors are NumPy arrays, in memory anyway."),
        **{name: ENCODE[name] for name in ("device", "pool", "chunk_size")},
    }
)
SAVE: Mapping[str, Accepted] = MappingProxyType(
    {
        "create_model_card": Accepted((False,), "numpy_bert writes no model cards."),
        "safe_serialization": Accepted((True,), "Weights are saved as safetensors alone."),
    }
)

_SPREAD = "Work is shared out among threads; numpy_bert.set_num_threads(n) says among how many."
_PROCESSOR = "numpy_bert computes on the processor."
_DTYPES = "It computes in float32 or float64: give dtype= where it is loaded."
_TRAIN = "numpy_bert.training and `numpy-bert train` train models."
_SAVED = "save_pretrained(path) saves a folder, which `hf upload` takes."
_TOKENIZE = (
    "encoder.tokenizer(texts, padding=True, truncation=True, return_tensors='np') returns the ids."
)
_CUT = "encode takes truncate_dim, and it is an attribute, too."
_BERT = "The BERT is encoder.model."
_BOTH = {
    **dict.fromkeys(("start_multi_process_pool", "stop_multi_process_pool"), _SPREAD),
    **dict.fromkeys(("cpu", "cuda"), _PROCESSOR),
    **dict.fromkeys(("bfloat16", "double", "float", "half"), _DTYPES),
    **dict.fromkeys(("fit", "old_fit", "train", "smart_batching_collate"), _TRAIN),
    **dict.fromkeys(("push_to_hub", "save", "save_to_hub"), _SAVED),
}
# What their classes have and ours have not, and what to do.
CROSS_ENCODER: Mapping[str, str] = MappingProxyType({**_BOTH, "to": _PROCESSOR})
_VECTORS: Mapping[str, str] = MappingProxyType(
    {
        **_BOTH,
        **dict.fromkeys(("auto_model", "transformers_model"), "The model is encoder.model."),
        **dict.fromkeys(("preprocess", "tokenize"), _TOKENIZE),
        "config": "It is encoder.model.config.",
        "encode_multi_process": _SPREAD,
        "get_max_seq_length": "It is the attribute max_seq_length.",
        "processor": "It is encoder.tokenizer.",
    }
)
SENTENCE_ENCODER: Mapping[str, str] = MappingProxyType(
    {
        **_VECTORS,
        **dict.fromkeys(("auto_model", "transformers_model"), _BERT),
        **dict.fromkeys(("truncate_embeddings", "truncate_sentence_embeddings"), _CUT),
        "evaluate": "numpy_bert.training.sentence_correlation scores pairs of texts.",
        "forward": "encode(texts, output_value=None) returns all that is known of each text.",
        "load": "SentenceEncoder(path) loads a folder.",
        "parameters": "encoder.model.named_parameters() yields the BERT's arrays by their names.",
    }
)
SPARSE_ENCODER: Mapping[str, str] = MappingProxyType(
    {
        **_VECTORS,
        **dict.fromkeys(
            ("fit", "old_fit", "train"), "Sparse encoders are not trained here, but in torch."
        ),
        "forward": "encode(texts) returns the vectors.",
        "load": "SparseEncoder(path) loads a folder.",
        "parameters": "encoder.model.named_parameters() yields the model's arrays by their names.",
        "splade_pooling_chunk_size": "Scores are pooled some words at a time; leave it out.",
    }
)

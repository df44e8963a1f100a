"""BERT on a page: `python scripts/bert_on_a_page.py numpy_bert/demo "The sun is [MASK]."`.

In the order of arXiv:1810.04805, in float32 or what a third argument says. T tokens, H features of
each, A heads of D = H / A features, I features inside the feed-forward network, V words.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Array = np.typing.NDArray[np.floating]


def linear(x: Array, w: dict[str, Array], name: str) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(x: Array, w: dict[str, Array], name: str, eps: float) -> Array:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: Array) -> Array:
    erf: Array = np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2))  # NumPy has none
    return x * (1 + erf) / 2


def softmax(x: Array) -> Array:
    x = np.exp(x - x.max(-1, keepdims=True))
    x /= x.sum(-1, keepdims=True)
    return x


folder, text, dtype = (*sys.argv[1:], "float32")[:3]
config = json.loads(Path(folder, "config.json").read_text("utf-8"))
heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
w = {}
for key, value in load_file(f"{folder}/model.safetensors").items():
    name = key.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias")
    w[name] = value.astype(dtype)
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.no_padding()
tokenizer.no_truncation()
tokens = tokenizer.encode(text)

# Input embedding
words = w["embeddings.word_embeddings.weight"][tokens.ids]  # (T, H)
types = w["embeddings.token_type_embeddings.weight"][tokens.type_ids]  # (T, H)
places = w["embeddings.position_embeddings.weight"][: len(tokens)]  # (T, H)
hidden = embedded = layer_norm(words + types + places, w, "embeddings.LayerNorm", eps)

# Encoder
for layer in (f"encoder.layer.{n}" for n in range(config["num_hidden_layers"])):
    qkv = [linear(hidden, w, f"{layer}.attention.self.{n}") for n in ("query", "key", "value")]
    q, k, v = np.reshape(qkv, (3, len(tokens), heads, -1)).swapaxes(1, 2)  # each (A, T, D)
    scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])  # (A, T, T)
    context = softmax(scores) @ v  # (A, T, D)
    attended = context.swapaxes(0, 1).reshape(hidden.shape)  # (T, H)
    dense = linear(attended, w, f"{layer}.attention.output.dense")
    hidden = layer_norm(hidden + dense, w, f"{layer}.attention.output.LayerNorm", eps)
    activated = gelu(linear(hidden, w, f"{layer}.intermediate.dense"))  # (T, I)
    dense = linear(activated, w, f"{layer}.output.dense")  # (T, H)
    hidden = layer_norm(hidden + dense, w, f"{layer}.output.LayerNorm", eps)

# Sentence vector
vector = hidden.mean(0)  # (H,)
print(f"{len(tokens)} tokens, {len(vector)} features in {vector.dtype}: {vector[:4]} ...")

# Words for each [MASK]
if "cls.predictions.bias" in w:
    x = gelu(linear(hidden, w, "cls.predictions.transform.dense"))
    x = layer_norm(x, w, "cls.predictions.transform.LayerNorm", eps)
    logits = x @ w["embeddings.word_embeddings.weight"].T + w["cls.predictions.bias"]  # (T, V)
    for row in softmax(logits[np.array(tokens.tokens) == "[MASK]"]):
        print(*(f"{tokenizer.id_to_token(i)} {row[i]:.3f}" for i in np.argsort(-row)[:5]))

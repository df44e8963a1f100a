"""What the bench scripts measure numpy_bert against, and on what texts and models.

Every rival runs the same checkpoint: sentence-transformers as it comes; transformers' BertModel,
ONNX Runtime (the model exported here, all graph optimizations on) and OpenVINO (the same graph) in
a loop as their users write it, texts sorted by length, padded in batches of 32, the mean of the
tokens taken in NumPy. All compute in float32 but two that are faster and lose digits: ONNX Runtime
on weights that `quantize_dynamic` made int8, and OpenVINO in bfloat16 where the processor has it.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from numpy_bert import BertConfig, SentenceEncoder, set_num_threads
from numpy_bert.loading.header import Entry, make_header
from numpy_bert.parameters import BertParameters, shapes

__all__ = [
    "BARE",
    "EXACT",
    "PACKAGES",
    "SIZES",
    "Encoder",
    "Ids",
    "Ours",
    "add_checkpoint",
    "checkpoint_of",
    "exported",
    "hide_threadpoolctl",
    "hold_threads",
    "lossy_rivals",
    "mixed_texts",
    "random_model",
]

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
BATCH = 32
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
PACKAGES = ("sentence-transformers", "transformers", "torch", "onnxruntime", "openvino")
# Layers, features, heads and the features between, as google-research/bert published them.
SIZES = {"base": (12, 768, 12, 3072), "large": (24, 1024, 16, 4096)}


class Encoder(Protocol):
    """A contender."""

    name: str

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""

    def vectors(self, ids: Ids) -> Floats:
        """Return the means of the tokens' hidden states, (B, H), of texts' ids, (B, T)."""


def mixed_texts(data: Path, count: int) -> list[str]:
    """Return short, middling and long texts: Tatoeba, the STS benchmark, paragraphs of Alice."""
    short = (data / "text" / "tatoeba_english.txt").read_text("utf-8").strip().split("\n")
    with (data / "sts" / "stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        middling = [row[0] for row in csv.reader(file)]
    paragraphs = (data / "text" / "alice.txt").read_text("utf-8").split("\n\n")
    long = [p.replace("\n", " ") for p in paragraphs if 80 < len(p) < 700]
    draw = random.Random(0)  # noqa: S311
    parts = [draw.sample(part, min(count // 3, len(part))) for part in (short, middling, long)]
    texts = [text for part in parts for text in part]
    draw.shuffle(texts)
    return texts


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Let the command line name MiniLM, and a size to be measured in its place."""
    parser.add_argument("checkpoint", type=Path, metavar="PATH_OF_MINILM")
    sizes = parser.add_mutually_exclusive_group()
    for size in SIZES:
        what = f"a random model of BERT-{size}'s sizes, with MiniLM's tokenizer"
        sizes.add_argument(f"--{size}", dest="size", action="store_const", const=size, help=what)


def checkpoint_of(options: argparse.Namespace, folder: Path) -> Path:
    """Return the checkpoint that the command line asks for; a random one is written to `folder`."""
    checkpoint: Path = options.checkpoint.resolve()
    return random_model(options.size, checkpoint, folder) if options.size else checkpoint


def random_model(size: str, tokenizer_from: Path, folder: Path) -> Path:
    """Write a random model of BERT-base's or -large's sizes into a folder of its own there.

    A tensor is drawn when it is written, so that the memory of one is all that is taken.
    """
    layers, hidden, heads, wide = SIZES[size]
    sizes = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": wide,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    folder = folder / size
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(sizes), "utf-8")
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).exists():
            shutil.copy(tokenizer_from / name, folder)
    tensors = shapes(BertParameters, BertConfig.from_dict(sizes))
    entries = [Entry(k, "F32", shape, 0, 4 * int(np.prod(shape))) for k, shape in tensors.items()]
    rng = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(make_header(entries, {"format": "pt"}))
        for name, shape in tensors.items():
            values = rng.standard_normal(shape, np.float32) * np.float32(0.02)
            file.write((values + 1 if name.endswith("LayerNorm.weight") else values).data)
    return folder


def hold_threads(number: int) -> Any:
    """Let numpy_bert, and BLAS under it, use so many threads while the result is referenced."""
    set_num_threads(number)
    return threadpool_limits(limits=number, user_api="blas")


def hide_threadpoolctl() -> None:
    """Keep it from numpy_bert, which asks for it late; what else needs it is imported before."""
    import sentence_transformers  # noqa: F401

    sys.modules["threadpoolctl"] = None  # type: ignore[assignment]


class Ours:
    """numpy_bert."""

    name = "numpy_bert"

    def __init__(self, checkpoint: Path) -> None:
        self.encoder = SentenceEncoder.from_pretrained(checkpoint)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""
        return self.encoder.encode(texts, show_progress_bar=False)

    def vectors(self, ids: Ids) -> Floats:
        """Return the means of the tokens' hidden states."""
        means: Floats = self.encoder.model(ids).last_hidden_state.mean(axis=1)
        return means


class SentenceTransformers:
    """sentence-transformers on torch."""

    name = "sentence-transformers"

    def __init__(self, checkpoint: Path, folder: Path, threads: int) -> None:  # noqa: ARG002
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = sentence_transformers.SentenceTransformer(str(checkpoint), device="cpu")

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""
        vectors: Floats = self.model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    def vectors(self, ids: Ids) -> Floats:
        """Return the sentence vectors."""
        given = self.torch.from_numpy(ids)
        with self.torch.inference_mode():
            found = self.model({"input_ids": given, "attention_mask": self.torch.ones_like(given)})
        vectors: Floats = found["sentence_embedding"].numpy()
        return vectors


class Padded:
    """The loop that users of a bare model write."""

    def __init__(self, checkpoint: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        self.scales = (checkpoint / "modules.json").exists()

    def hidden(self, ids: Ids, mask: Ids) -> Floats:
        """Return the last hidden states, (B, T, H)."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        vectors = []
        for start in range(0, len(rows), BATCH):
            batch = [rows[row] for row in order[start : start + BATCH]]
            ids = np.zeros((len(batch), len(batch[0])), np.int64)
            mask = np.zeros_like(ids)
            for number, row in enumerate(batch):
                ids[number, : len(row)], mask[number, : len(row)] = row, 1
            weights = mask[:, np.newaxis].astype(np.float32)  # (B, 1, T)
            vectors.append((weights @ self.hidden(ids, mask))[:, 0] / weights.sum(axis=-1))
        found = np.empty((len(rows), vectors[0].shape[1]), np.float32)
        found[order] = np.concatenate(vectors)
        return found / np.linalg.norm(found, axis=1, keepdims=True) if self.scales else found

    def vectors(self, ids: Ids) -> Floats:
        """Return the means of the tokens' hidden states."""
        means: Floats = self.hidden(ids, np.ones_like(ids)).mean(axis=1)
        return means


class Torch(Padded):
    """transformers' BertModel, as from_pretrained gives it."""

    name = "torch"

    def __init__(self, checkpoint: Path, folder: Path, threads: int) -> None:  # noqa: ARG002
        import torch
        import transformers

        super().__init__(checkpoint)
        torch.set_num_threads(threads)
        self.torch = torch
        self.model = transformers.BertModel.from_pretrained(checkpoint).eval()

    def hidden(self, ids: Ids, mask: Ids) -> Floats:
        """Return the last hidden states."""
        given = self.torch.from_numpy(ids), self.torch.from_numpy(mask)
        with self.torch.inference_mode():
            found: Floats = self.model(*given).last_hidden_state.numpy()
        return found


class OnnxRuntime(Padded):
    """ONNX Runtime."""

    name = "ONNX Runtime"

    def __init__(self, checkpoint: Path, folder: Path, threads: int) -> None:
        import onnxruntime

        super().__init__(checkpoint)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            str(self.graph(checkpoint, folder)), options, providers=["CPUExecutionProvider"]
        )

    def graph(self, checkpoint: Path, folder: Path) -> Path:
        """Return the graph that is run."""
        return exported(checkpoint, folder)

    def hidden(self, ids: Ids, mask: Ids) -> Floats:
        """Return the last hidden states."""
        found: Floats = self.session.run(["last_hidden_state"], inputs(ids, mask))[0]
        return found


class OnnxRuntimeInt8(OnnxRuntime):
    """ONNX Runtime with int8 weights, the activations quantized as they come."""

    name = "ONNX Runtime int8"

    def graph(self, checkpoint: Path, folder: Path) -> Path:
        """Return the quantized graph, made once."""
        from onnxruntime.quantization import quantize_dynamic

        path = folder / f"{checkpoint.name}-int8.onnx"
        if not path.exists():
            quantize_dynamic(exported(checkpoint, folder), path)
        return path


class OpenVino(Padded):
    """OpenVINO."""

    name = "OpenVINO"
    precision = "f32"

    def __init__(self, checkpoint: Path, folder: Path, threads: int) -> None:
        import openvino

        super().__init__(checkpoint)
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            # The loop asks for one batch at a time, so one stream is to have all threads: what
            # the hint for throughput makes is several streams, of which all but one would idle.
            "PERFORMANCE_HINT": "LATENCY",
        }
        graph = exported(checkpoint, folder)
        self.model = openvino.Core().compile_model(str(graph), "CPU", settings)

    def hidden(self, ids: Ids, mask: Ids) -> Floats:
        """Return the last hidden states."""
        found: Floats = self.model(inputs(ids, mask))[0]
        return found


class OpenVinoBfloat16(OpenVino):
    """OpenVINO with its products in bfloat16."""

    name = "OpenVINO bfloat16"
    precision = "bf16"

    @staticmethod
    def runs() -> bool:
        """Tell whether OpenVINO finds bfloat16 in the processor; it would emulate it otherwise."""
        import openvino

        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


# The rivals that compute in float32, those that take token ids first.
BARE = (Torch, OnnxRuntime, OpenVino)
EXACT = (SentenceTransformers, *BARE)


def lossy_rivals() -> list[type[OnnxRuntimeInt8] | type[OpenVinoBfloat16]]:
    """Return the rivals that lose digits, as far as this processor has what they use."""
    return [OnnxRuntimeInt8, *([OpenVinoBfloat16] if OpenVinoBfloat16.runs() else [])]


def exported(checkpoint: Path, folder: Path) -> Path:
    """Return the checkpoint's graph, which is exported into `folder` once."""
    from port_onnx import export  # it imports onnx and more, which numpy_bert's memory is without

    path = folder / f"{checkpoint.name}.onnx"
    return path if path.exists() else export(checkpoint, path, "last_hidden_state")


def inputs(ids: Ids, mask: Ids) -> dict[str, Ids]:
    """Return what the graph is fed."""
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

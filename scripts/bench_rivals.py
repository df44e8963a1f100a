"""What bench_encode.py and bench_latency.py measure numpy_bert against, and on what texts.

Every rival runs the same checkpoint: sentence-transformers as it comes; transformers' BertModel and
ONNX Runtime (the model exported here, all graph optimizations on) in a loop as their users write
it, texts sorted by length, padded in batches of 32, the mean of the tokens taken in NumPy.
"""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from port_onnx import export

from numpy_bert import SentenceEncoder, set_num_threads

__all__ = ["Encoder", "Ids", "Ours", "base_model", "hold_threads", "mixed_texts", "rivals"]

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
BATCH = 32
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


class Encoder(Protocol):
    """A contender."""

    name: str

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""

    def vector(self, ids: Ids) -> Floats:
        """Return the mean of the tokens' hidden states, (H,), of one text's ids, (T,)."""


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


def base_model(tokenizer_from: Path, folder: Path) -> Path:
    """Write a random model of BERT-base's sizes into `folder`."""
    code = (
        "import sys, torch, transformers\n"
        "torch.manual_seed(0)\n"
        "transformers.BertModel(transformers.BertConfig()).save_pretrained(sys.argv[1])\n"
    )
    run_quietly(code, str(folder))
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / name, folder)
    return folder


def rivals(checkpoint: Path, folder: Path, threads: int) -> list[Encoder]:
    """Return the others; ONNX Runtime's graph is written into `folder` once."""
    graph = folder / f"{checkpoint.name}.onnx"
    if not graph.exists():
        export(checkpoint, graph, "last_hidden_state")
    return [
        SentenceTransformers(checkpoint, threads),
        Torch(checkpoint, threads),
        OnnxRuntime(checkpoint, graph, threads),
    ]


def hold_threads(number: int) -> Any:
    """Let numpy_bert, and BLAS under it, use so many threads while the result is referenced."""
    from threadpoolctl import threadpool_limits

    set_num_threads(number)
    return threadpool_limits(limits=number, user_api="blas")


class Ours:
    """numpy_bert."""

    name = "numpy_bert"

    def __init__(self, checkpoint: Path) -> None:
        self.encoder = SentenceEncoder.from_pretrained(checkpoint)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of each text."""
        return self.encoder.encode(texts, show_progress_bar=False)

    def vector(self, ids: Ids) -> Floats:
        """Return the mean of the tokens' hidden states."""
        mean: Floats = self.encoder.model(ids[np.newaxis]).last_hidden_state[0].mean(axis=0)
        return mean


class SentenceTransformers:
    """sentence-transformers on torch."""

    name = "sentence-transformers"

    def __init__(self, checkpoint: Path, threads: int) -> None:
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

    def vector(self, ids: Ids) -> Floats:
        """Return the sentence vector."""
        given = self.torch.from_numpy(ids[np.newaxis])
        with self.torch.inference_mode():
            found = self.model({"input_ids": given, "attention_mask": self.torch.ones_like(given)})
        vector: Floats = found["sentence_embedding"][0].numpy()
        return vector


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

    def vector(self, ids: Ids) -> Floats:
        """Return the mean of the tokens' hidden states."""
        mean: Floats = self.hidden(ids[np.newaxis], np.ones((1, len(ids)), np.int64))[0].mean(
            axis=0
        )
        return mean


class Torch(Padded):
    """transformers' BertModel, as from_pretrained gives it."""

    name = "torch"

    def __init__(self, checkpoint: Path, threads: int) -> None:
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

    def __init__(self, checkpoint: Path, graph: Path, threads: int) -> None:
        import onnxruntime

        super().__init__(checkpoint)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def hidden(self, ids: Ids, mask: Ids) -> Floats:
        """Return the last hidden states."""
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        found: Floats = self.session.run(["last_hidden_state"], feed)[0]
        return found


def run_quietly(code: str, *arguments: str) -> None:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    subprocess.run(command, check=True, capture_output=True)

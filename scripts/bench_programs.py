"""The programs that bench_startup.py and bench_memory.py run: one sentence to its input embedding.

Each is what a user would write, takes the checkpoint and prints the embedding. ONNX Runtime runs
twice, on graphs that `places` makes of the checkpoint: the whole model with the embedding as
a further output, which is what is published; and the embedding alone as one fused node, which
somebody would have to make for this very purpose.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from port_onnx import export

from numpy_bert import BertModel

__all__ = ["PROGRAMS", "SENTENCE", "fused_graph", "places"]

SENTENCE = "this is a test sentence"

_ORT_IMPORTS = (
    "import sys\nimport numpy as np\nimport onnxruntime\nfrom tokenizers import Tokenizer\n"
)
_ORT_WORK = (
    "tokenizer = Tokenizer.from_file(sys.argv[1] + '/tokenizer.json')\n"
    "tokenizer.no_padding()\n"
    "tokenizer.no_truncation()\n"
    "path = sys.argv[1] + '/GRAPH.onnx'\n"
    "session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])\n"
    f"tokens = tokenizer.encode({SENTENCE!r})\n"
    "feed = {'input_ids': tokens.ids, 'attention_mask': tokens.attention_mask,\n"
    "        'token_type_ids': tokens.type_ids}\n"
    "kinds = {i.name: np.int32 if 'int32' in i.type else np.int64 for i in session.get_inputs()}\n"
    "feed = {name: np.array([feed[name]], kind) for name, kind in kinds.items()}\n"
    "print(session.run(['embeddings'], feed)[0])\n"
)

# The imports of each apart from what it then does.
PROGRAMS: dict[str, tuple[str, str]] = {
    "numpy_bert": (
        "import sys\nfrom numpy_bert import BertModel, BertTokenizer\n",
        "tokenizer = BertTokenizer.from_pretrained(sys.argv[1])\n"
        "model = BertModel.from_pretrained(sys.argv[1])\n"
        f"inputs = tokenizer({SENTENCE!r}, return_tensors='np')\n"
        "print(model.embeddings(inputs['input_ids'], inputs['token_type_ids']))\n",
    ),
    "ONNX Runtime": (_ORT_IMPORTS, _ORT_WORK.replace("GRAPH", "model")),
    "ORT, one node": (_ORT_IMPORTS, _ORT_WORK.replace("GRAPH", "embeddings")),
    "torch": (
        "import sys\nimport torch\nfrom transformers import AutoTokenizer, BertModel\n",
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "model = BertModel.from_pretrained(sys.argv[1])\n"
        f"inputs = tokenizer({SENTENCE!r}, return_tensors='pt')\n"
        "with torch.no_grad():\n"
        "    print(model.embeddings(inputs['input_ids'], inputs['token_type_ids']))\n",
    ),
}


def fused_graph(parameters: Any, eps: float) -> bytes:
    """Return an ONNX model of one node, ONNX Runtime's fused CPU operator for this very job."""
    arrays = {
        "words": parameters.word_embeddings.weight,
        "positions": parameters.position_embeddings.weight,
        "types": parameters.token_type_embeddings.weight,
        "weight": parameters.LayerNorm.weight,
        "bias": parameters.LayerNorm.bias,
    }
    node = helper.make_node(
        "EmbedLayerNormalization",
        ["input_ids", "token_type_ids", *arrays],
        ["embeddings", "mask_index"],
        domain="com.microsoft",
        epsilon=eps,
    )
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["B", "T"])
        for name in ("input_ids", "token_type_ids")
    ]
    embedded = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["B", "T", "H"])
    constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    graph = helper.make_graph([node], "embeddings", ids, [embedded], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def places(names: list[str], checkpoint: Path, folder: Path) -> dict[str, str]:
    """Return what each program is to be given; graphs are written into `folder`."""
    runs_graphs = [name for name in names if name.startswith("O")]
    if runs_graphs:
        _write_graphs(checkpoint, folder)
    return {name: str(folder if name in runs_graphs else checkpoint) for name in names}


def _write_graphs(checkpoint: Path, folder: Path) -> None:
    """Write embeddings.onnx, the fused node, and model.onnx, the whole, with a tokenizer.json."""
    ours = BertModel.from_pretrained(checkpoint)
    data = fused_graph(ours.embeddings.parameters, ours.config.layer_norm_eps)
    (folder / "embeddings.onnx").write_bytes(data)
    shutil.copy(checkpoint / "tokenizer.json", folder)
    export(checkpoint, folder / "model.onnx", "embeddings", "last_hidden_state")

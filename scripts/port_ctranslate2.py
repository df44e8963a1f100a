"""BERT as CTranslate2 has it, converted by its own converter from transformers' model.

    python scripts/port_ctranslate2.py CHECKPOINT INPUTS.npz FOLDER

The last hidden state and the pooled vector, in every type that CTranslate2 has for this processor.
`report_ports.py` makes the environment, runs this file in it and verifies what it saves.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter


def main() -> None:
    """Save the runs."""
    checkpoint, inputs, folder = sys.argv[1:]
    given = np.load(inputs)
    rows = zip(*(given[n] for n in ("input_ids", "token_type_ids", "attention_mask")), strict=True)
    used = [(ids[mask == 1].tolist(), types[mask == 1].tolist()) for ids, types, mask in rows]
    ids, types = map(list, zip(*used, strict=True))
    with tempfile.TemporaryDirectory() as converted:
        TransformersConverter(checkpoint).convert(converted, force=True)
        for compute_type in ("float32", "bfloat16", "float16", "int8"):
            if compute_type not in ctranslate2.get_supported_compute_types("cpu"):
                continue
            encoder = ctranslate2.Encoder(converted, compute_type=compute_type)
            found = encoder.forward_batch(ids, token_type_ids=types)
            np.savez(
                Path(folder) / f"CTranslate2, {compute_type}.npz",
                **given,
                last_hidden_state=np.array(found.last_hidden_state),
                pooler_output=np.array(found.pooler_output),
            )


if __name__ == "__main__":
    main()

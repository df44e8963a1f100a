"""What must be the same where a job goes on, so that the result has the same bits."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_bert import __version__
from numpy_bert.arrays import Array
from numpy_bert.identity import fingerprint, identity_of
from numpy_bert.kernels.blas import openblas
from numpy_bert.kernels.choices import Choices
from numpy_bert.kernels.machine import machine
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.kernels.tuning import tuning

if TYPE_CHECKING:
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder

__all__ = ["identity_of_job"]

# Another number, once the files of a job's folder mean something else.
_CONTRACT = "numpy_bert.corpora/1"


def identity_of_job(
    encoder: SentenceEncoder, asked: Mapping[str, Any], probe: Array
) -> dict[str, Any]:
    """Return JSON values by names: settings, the model, versions, and the machine.

    Parameters
    ----------
    encoder : SentenceEncoder
        The model.
    asked : mapping of str to object
        What the job was asked for, which is compared first.
    probe : ndarray
        Vectors of some texts: what the rest does not tell, they do.

    Examples
    --------
    >>> from numpy_bert import SentenceEncoder
    >>> encoder = SentenceEncoder("demo")
    >>> found = identity_of_job(encoder, {"precision": "int8"}, encoder.encode(["a test"]))
    >>> list(found)[:4]
    ['contract', 'precision', 'dtype', 'max_seq_length']
    """
    library, choices = openblas(), tuning()
    tokens = encoder.tokenizer.backend_tokenizer.to_str().encode()
    config = repr(sorted(identity_of(encoder.model).items())).encode()
    return {
        "contract": _CONTRACT,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in asked.items()},
        "dtype": str(encoder.dtype),
        "max_seq_length": encoder.max_seq_length,
        "model": fingerprint(encoder),
        "config": hashlib.sha256(config).hexdigest(),
        "tokenizer": hashlib.sha256(tokens).hexdigest(),
        "numpy_bert": __version__,
        "numpy": np.__version__,
        "tokenizers": version("tokenizers"),
        "python": platform.python_version(),
        "machine": str(machine()),
        "BLAS": None if library is None else library.version,
        "threads": get_num_threads(),
        "threads of BLAS": None if library is None else library.get_num_threads(),
        "tuning": _plain(choices),
        "probe": hashlib.sha256(np.ascontiguousarray(probe).data).hexdigest(),
    }


def _plain(choices: Choices) -> dict[str, Any]:
    """Return the choices that can change a bit, as JSON has them."""
    return {
        "cuts": [list(asdict(cut).values()) for cut in choices.cuts],
        "activation": choices.activation,
        "block_bytes": choices.block_bytes,
    }

"""Every error that numpy_bert raises on purpose.

::

    NumpyBertError
    ├── InputError (ValueError)         ids, masks, shapes, dtypes, text, arguments
    ├── ConfigError (ValueError)        config.json
    ├── CheckpointError (ValueError)    model.safetensors, its index and shards, tensor names
    ├── IntegrityError (OSError)        bytes that are not the ones that were published
    ├── TokenizerError (ValueError)     tokenizer.json, vocab.txt, tokenizer_config.json
    ├── HubError (OSError)              the hub answered, but not with what was asked
    │   └── OfflineError                the hub was not asked, or could not be reached
    ├── OutOfMemoryError (MemoryError)  more memory than there is, and what for
    ├── OutputError (OSError)           a file that could not be written
    ├── TraceError (ValueError)         traces: their files, the names in them, what is compared
    └── TrainingError (RuntimeError)    a loss that is not finite, a checkpoint of another run

Each also derives from the built-in that it refines, so ``except ValueError`` goes on working.
A message says where, what must hold, what came, and what to do.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "HubError",
    "InputError",
    "IntegrityError",
    "NumpyBertError",
    "OfflineError",
    "OutOfMemoryError",
    "OutputError",
    "TokenizerError",
    "TraceError",
    "TrainingError",
]


class NumpyBertError(Exception):
    """Base of all errors that numpy_bert raises on purpose."""


class InputError(NumpyBertError, ValueError):
    """Ids, masks, shapes, dtypes, text or arguments that the computation cannot take."""


class ConfigError(NumpyBertError, ValueError):
    """A config.json that is missing, malformed, or describes a model that is not supported."""


class CheckpointError(NumpyBertError, ValueError):
    """Weights that are missing, malformed, unsupported, or do not fit their config.json."""


class IntegrityError(NumpyBertError, OSError):
    """Bytes that are not the ones that the hub published."""


class TokenizerError(NumpyBertError, ValueError):
    """Tokenizer files that are missing, malformed, or contradict each other."""


class HubError(NumpyBertError, OSError):
    """The hub answered, but not with what was asked for."""


class OfflineError(HubError):
    """The hub was not asked (offline) or could not be reached, and the cache has no copy."""


# Python's own first: only so can MemoryError.__new__ make one, as what unpickles errors has it do.
class OutOfMemoryError(MemoryError, NumpyBertError):
    """Memory that the system does not give; the message says for what, and how to need less."""


class OutputError(NumpyBertError, OSError):
    """A file that could not be written."""


class TraceError(NumpyBertError, ValueError):
    """A trace that is malformed or cannot be compared, or a name that is no step's."""


class TrainingError(NumpyBertError, RuntimeError):
    """A run that cannot go on: its loss is not finite, or its checkpoint is another run's."""

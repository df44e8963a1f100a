"""BERT in NumPy, from scratch: text in, every step of the model visible, no framework.

>>> from numpy_bert import BertModel, BertTokenizer
>>> tokenizer = BertTokenizer.from_pretrained("demo")
>>> model = BertModel.from_pretrained("demo")
>>> inputs = tokenizer("this is a test sentence", return_tensors="np")
>>> model.embeddings(inputs["input_ids"], inputs["token_type_ids"]).shape
(1, 7, 128)

The names below are imported when they are first used, so that ``import numpy_bert`` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy_bert.config import BertConfig as BertConfig
    from numpy_bert.corpora.index import open_index as open_index
    from numpy_bert.encoding.cross_encoder import CrossEncoder as CrossEncoder
    from numpy_bert.encoding.mining import community_detection as community_detection
    from numpy_bert.encoding.mining import paraphrase_mining as paraphrase_mining
    from numpy_bert.encoding.mining import (
        paraphrase_mining_embeddings as paraphrase_mining_embeddings,
    )
    from numpy_bert.encoding.mining import semantic_search as semantic_search
    from numpy_bert.encoding.quantization import quantize_embeddings as quantize_embeddings
    from numpy_bert.encoding.sentence_encoder import SentenceEncoder as SentenceEncoder
    from numpy_bert.encoding.similarity import search as search
    from numpy_bert.encoding.similarity import similarity as similarity
    from numpy_bert.encoding.similarity import similarity_pairwise as similarity_pairwise
    from numpy_bert.encoding.sparse_encoder import SparseEncoder as SparseEncoder
    from numpy_bert.errors import CheckpointError as CheckpointError
    from numpy_bert.errors import ConfigError as ConfigError
    from numpy_bert.errors import HubError as HubError
    from numpy_bert.errors import InputError as InputError
    from numpy_bert.errors import IntegrityError as IntegrityError
    from numpy_bert.errors import NumpyBertError as NumpyBertError
    from numpy_bert.errors import OfflineError as OfflineError
    from numpy_bert.errors import OutOfMemoryError as OutOfMemoryError
    from numpy_bert.errors import OutputError as OutputError
    from numpy_bert.errors import TokenizerError as TokenizerError
    from numpy_bert.errors import TraceError as TraceError
    from numpy_bert.errors import TrainingError as TrainingError
    from numpy_bert.kernels.threads import get_num_threads as get_num_threads
    from numpy_bert.kernels.threads import set_num_threads as set_num_threads
    from numpy_bert.kernels.tuning import tuning as tuning
    from numpy_bert.loading.hub import fetch as fetch
    from numpy_bert.model.bert import BertModel as BertModel
    from numpy_bert.model.family import AutoModel as AutoModel
    from numpy_bert.model.family import AutoModelForMaskedLM as AutoModelForMaskedLM
    from numpy_bert.model.family import AutoModelForMultipleChoice as AutoModelForMultipleChoice
    from numpy_bert.model.family import (
        AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
    )
    from numpy_bert.model.family import AutoModelForPreTraining as AutoModelForPreTraining
    from numpy_bert.model.family import (
        AutoModelForQuestionAnswering as AutoModelForQuestionAnswering,
    )
    from numpy_bert.model.family import (
        AutoModelForSequenceClassification as AutoModelForSequenceClassification,
    )
    from numpy_bert.model.family import (
        AutoModelForTokenClassification as AutoModelForTokenClassification,
    )
    from numpy_bert.model.task_models import BertForMaskedLM as BertForMaskedLM
    from numpy_bert.model.task_models import BertForMultipleChoice as BertForMultipleChoice
    from numpy_bert.model.task_models import (
        BertForNextSentencePrediction as BertForNextSentencePrediction,
    )
    from numpy_bert.model.task_models import BertForPreTraining as BertForPreTraining
    from numpy_bert.model.task_models import BertForQuestionAnswering as BertForQuestionAnswering
    from numpy_bert.model.task_models import (
        BertForSequenceClassification as BertForSequenceClassification,
    )
    from numpy_bert.model.task_models import (
        BertForTokenClassification as BertForTokenClassification,
    )
    from numpy_bert.text.tokenizer import BertTokenizer as BertTokenizer

    AutoTokenizer = BertTokenizerFast = BertTokenizer
    CamembertTokenizer = CamembertTokenizerFast = BertTokenizer
    DistilBertTokenizer = DistilBertTokenizerFast = BertTokenizer
    DPRContextEncoderTokenizer = DPRContextEncoderTokenizerFast = BertTokenizer
    DPRQuestionEncoderTokenizer = DPRQuestionEncoderTokenizerFast = BertTokenizer
    ElectraTokenizer = ElectraTokenizerFast = BertTokenizer
    MPNetTokenizer = MPNetTokenizerFast = BertTokenizer
    RobertaTokenizer = RobertaTokenizerFast = BertTokenizer
    XLMRobertaTokenizer = XLMRobertaTokenizerFast = BertTokenizer

__version__ = "0.1.0"

_HOMES = {
    "BertConfig": "config",
    "BertForMaskedLM": "model.task_models",
    "BertForMultipleChoice": "model.task_models",
    "BertForNextSentencePrediction": "model.task_models",
    "BertForPreTraining": "model.task_models",
    "BertForQuestionAnswering": "model.task_models",
    "BertForSequenceClassification": "model.task_models",
    "BertForTokenClassification": "model.task_models",
    "BertModel": "model.bert",
    "BertTokenizer": "text.tokenizer",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "CrossEncoder": "encoding.cross_encoder",
    "HubError": "errors",
    "InputError": "errors",
    "IntegrityError": "errors",
    "NumpyBertError": "errors",
    "OfflineError": "errors",
    "OutOfMemoryError": "errors",
    "OutputError": "errors",
    "SentenceEncoder": "encoding.sentence_encoder",
    "SparseEncoder": "encoding.sparse_encoder",
    "TokenizerError": "errors",
    "TraceError": "errors",
    "TrainingError": "errors",
    "community_detection": "encoding.mining",
    "fetch": "loading.hub",
    "get_num_threads": "kernels.threads",
    "open_index": "corpora.index",
    "paraphrase_mining": "encoding.mining",
    "paraphrase_mining_embeddings": "encoding.mining",
    "quantize_embeddings": "encoding.quantization",
    "search": "encoding.similarity",
    "semantic_search": "encoding.mining",
    "set_num_threads": "kernels.threads",
    "similarity": "encoding.similarity",
    "similarity_pairwise": "encoding.similarity",
    "tuning": "kernels.tuning",
}

# transformers' names of tokenizers, with "Fast" or without, all of which are BertTokenizer.
_TOKENIZERS = frozenset(
    f"{name}Tokenizer{fast}"
    for name in (
        *("Auto", "Bert", "Camembert", "DPRContextEncoder", "DPRQuestionEncoder", "DistilBert"),
        *("Electra", "MPNet", "Roberta", "XLMRoberta"),
    )
    for fast in ("", "Fast")
) - {"AutoTokenizerFast", "BertTokenizer"}

# What is called otherwise in transformers and sentence-transformers.
_OURS = {
    "AdamW": "numpy_bert.training.AdamW",
    "BertLMHeadModel": "BertForMaskedLM",
    "DataCollatorForLanguageModeling": "numpy_bert.training.MaskedTexts",
    "InputExample": "numpy_bert.training.LabelledTexts for labels, a dict of columns for pairs",
    "PreTrainedModel": "BertModel",
    "PreTrainedTokenizerFast": "BertTokenizer",
    "SentenceTransformer": "SentenceEncoder",
    "SentenceTransformerTrainer": "numpy_bert.training.SentenceEncoderTrainer",
    "SentenceTransformerTrainingArguments": "numpy_bert.training.TrainingArguments",
    "Trainer": "numpy_bert.training.Trainer",
    "TrainingArguments": "numpy_bert.training.TrainingArguments",
    "cos_sim": "similarity",
    "dot_score": "similarity(..., similarity_fn_name='dot')",
    "losses": "numpy_bert.training.MultipleNegativesRankingLoss, or another one there",
    "pairwise_cos_sim": "similarity_pairwise",
    "pairwise_dot_score": "similarity_pairwise(..., similarity_fn_name='dot')",
    "pipeline": "BertForMaskedLM's fill_mask, BertForSequenceClassification's classify and so on",
    "pytorch_cos_sim": "similarity",
    "util": "semantic_search, paraphrase_mining, community_detection or similarity, without util",
}

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "CheckpointError",
    "ConfigError",
    "CrossEncoder",
    "HubError",
    "InputError",
    "IntegrityError",
    "NumpyBertError",
    "OfflineError",
    "OutOfMemoryError",
    "OutputError",
    "SentenceEncoder",
    "SparseEncoder",
    "TokenizerError",
    "TraceError",
    "TrainingError",
    "community_detection",
    "fetch",
    "get_num_threads",
    "open_index",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "quantize_embeddings",
    "search",
    "semantic_search",
    "set_num_threads",
    "similarity",
    "similarity_pairwise",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home at its first use."""
    own = "BertTokenizer" if name in _TOKENIZERS else name
    home = _HOMES.get(own) or _home_in_family(own)
    if home is None:
        raise _unknown(name, sys._getframe(1).f_code.co_name)
    value = getattr(importlib.import_module(f"{__name__}.{home}"), own)
    globals()[name] = value
    return value


def _home_in_family(name: str) -> str | None:
    """Return the home of another architecture's class, and of one that loads any; None for none."""
    from numpy_bert.architectures import class_names

    _, end = class_names().get(name, ("", ""))
    return {"": None, "Config": "config"}.get(end, "model.family")


def _unknown(name: str, caller: str) -> Exception:
    """Return the error for a name that is not here, which says what is called so elsewhere.

    An import statement puts a sentence of its own in the place of an AttributeError's.
    """
    ours = _OURS.get(name)
    if ours is None:
        return AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = ImportError if caller == "_handle_fromlist" else AttributeError
    return kind(f"{__name__} has no {name!r}. Use {ours}.")


def __dir__() -> list[str]:
    """List the public names, imported or not yet."""
    from numpy_bert.architectures import class_names

    return sorted({*globals(), *__all__, *class_names(), *_TOKENIZERS})

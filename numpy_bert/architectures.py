"""What each architecture of BERT's family is, as data: an entry is all that one is told apart by.

Inside, everything is BERT's: its config's fields, its keys, its names of steps. Where a file is
read, an architecture's own names are turned into these, and back where one is written; so the
arithmetic, the kernels, training and verification do not know which architecture they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from numpy_bert.reprs import short_repr

__all__ = ["ARCHITECTURES", "REFUSED", "Architecture", "HeadRules", "class_names", "like_roberta"]


class HeadRules(NamedTuple):
    """What is an architecture's own in a head; by default nothing, and the head is BERT's.

    Attributes
    ----------
    form : str
        Which layers it has, by one of the names that `numpy_bert.model.family_heads` knows; ""
        for BERT's.
    dropout : str
        The field of `BertConfig` that has the rate of its dropout. A null there is
        hidden_dropout_prob.
    activation : str, optional
        The function between its layers, by one of the names of `numpy_bert.ops.activation`.
    """

    form: str = ""
    dropout: str = "classifier_dropout"
    activation: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Architecture:
    """An architecture: where it differs from BERT.

    Attributes
    ----------
    model_type : str
        What its config.json calls it.
    name : str
        What messages call it.
    classes : str
        What transformers' names of its classes begin with.
    prefix : str
        Where the model hangs under a head: what its tensors' names begin with there.
    encoders : mapping of str to str
        The classes of the model itself and the prefixes of their tensors, where it is none that is
        called ``...Model``. These always have their prefix, and what stands beside the model in
        `beside` has it without its last component.
    beside : frozenset of str
        The parts of the model that hang beside the prefix's last component.
    settings : mapping of str to str
        Names in its config.json, and the field of `BertConfig` that each is.
    defaults : mapping of str to object
        Fields of `BertConfig` with another default than BERT's. A field that not every
        architecture has is there if it is named here.
    fixed : mapping of str to object
        Fields of `BertConfig` that its config.json has not, and what they always are.
    only : mapping of str to object
        What else its config.json may say, with the one value that is supported.
    keys : mapping of str to str
        Whole components of its tensors' names, and BERT's for the same; one to one.
    positions : {"sequence", "tokens"}
        What a position counts: the places of a row from 0; or the ids that are not padding's, from
        `padding_idx` + 1, where padding's ids stand at row `padding_idx`, whatever a mask says.
    padding_idx : int, optional
        The row of padding in the tables of words and of such positions; by default the config's
        pad_token_id.
    masks_padding : bool
        Whether the ids of padding are padding where no mask is given.
    lacks : frozenset of str
        Parts of a BERT that are never there, by their keys.
    drops_attention_output : bool
        Whether dropout follows the projection after attention.
    pooling : {"dense", "first"}
        What the pooler's output is: a dense layer with tanh over the first token's state, or that
        state, through encode_proj where projection_dim is above 0.
    words_act : str, optional
        The activation in the head that predicts words, where it is not the config's hidden_act.
    heads : mapping of str to HeadRules
        What its heads are, by the ends of the names of their classes.
    """

    __repr__ = short_repr

    model_type: str
    name: str
    classes: str
    prefix: str
    encoders: Mapping[str, str] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    positions: Literal["sequence", "tokens"] = "sequence"
    padding_idx: int | None = None
    masks_padding: bool = False
    lacks: frozenset[str] = frozenset()
    drops_attention_output: bool = True
    pooling: Literal["dense", "first"] = "dense"
    words_act: str | None = None
    heads: Mapping[str, HeadRules] = field(default_factory=dict)

    @property
    def modules(self) -> tuple[str, ...]:
        """What the model is called inside another module: the components of its prefixes.

        Examples
        --------
        >>> ARCHITECTURES["dpr"].modules
        ('question_encoder', 'bert_model', 'ctx_encoder')
        """
        prefixes = (self.prefix, *self.encoders.values())
        return tuple(dict.fromkeys(part for name in prefixes for part in name[:-1].split(".")))

    def padding_row(self, pad_token_id: Any) -> Any:
        """Return the row of padding in the table of words, for what a config says of it."""
        return pad_token_id if self.padding_idx is None else self.padding_idx

    def position_padding_row(self, pad_token_id: Any) -> Any:
        """Return the row of padding in the table of positions; None where it has none.

        Examples
        --------
        >>> ARCHITECTURES["roberta"].position_padding_row(1)
        1
        """
        return self.padding_row(pad_token_id) if self.positions == "tokens" else None

    def class_names(self, end: str) -> tuple[str, ...]:
        """Return its classes of a kind, by the end of a name; none where it has no such head.

        Examples
        --------
        >>> dpr = ARCHITECTURES["dpr"]
        >>> dpr.class_names("Model"), dpr.class_names("ForMaskedLM")
        (('DPRQuestionEncoder', 'DPRContextEncoder'), ())
        """
        if end == "Model" and self.encoders:
            return tuple(self.encoders)
        return (f"{self.classes}{end}",) if end in ("Config", "Model", *self.heads) else ()


# The heads that all have, as BERT has them.
_TASKS = {
    "ForMaskedLM": HeadRules(),
    "ForSequenceClassification": HeadRules(),
    "ForTokenClassification": HeadRules(),
    "ForQuestionAnswering": HeadRules(),
    "ForMultipleChoice": HeadRules(),
}
_TWO_SENTENCES = {"ForPreTraining": HeadRules(), "ForNextSentencePrediction": HeadRules()}
_FIRST_TOKEN = HeadRules(form="first_token", activation="tanh")
_PRE_CLASSIFIER = HeadRules(form="pre_classifier", activation="relu")

# The ids of RoBERTa's first and last token, which only its config keeps.
_ENDS = {"bos_token_id": 0, "eos_token_id": 2}
# The head that predicts words as fairseq's models have it.
_LM_HEAD = {
    "lm_head.dense": "cls.predictions.transform.dense",
    "lm_head.layer_norm": "cls.predictions.transform.LayerNorm",
    "lm_head.decoder": "cls.predictions.decoder",
    "lm_head.bias": "cls.predictions.bias",
}


def like_roberta(
    model_type: str, name: str, classes: str, prefix: str, **others: Any
) -> Architecture:
    """Return an architecture that is RoBERTa under another name, with `others` as defaults.

    Examples
    --------
    >>> like_roberta("data2vec-text", "Data2Vec", "Data2VecText", "data2vec_text.").positions
    'tokens'
    """
    return Architecture(
        model_type=model_type,
        name=name,
        classes=classes,
        prefix=prefix,
        defaults={"pad_token_id": 1, **_ENDS, **others},
        keys=_LM_HEAD,
        positions="tokens",
        words_act="gelu",
        heads={
            **_TASKS,
            "ForSequenceClassification": _FIRST_TOKEN,
            "ForMultipleChoice": HeadRules(dropout="hidden_dropout_prob"),
        },
    )


_ENTRIES = (
    Architecture(
        model_type="bert",
        name="BERT",
        classes="Bert",
        prefix="bert.",
        heads={**_TWO_SENTENCES, **_TASKS},
    ),
    like_roberta("roberta", "RoBERTa", "Roberta", "roberta.", vocab_size=50265),
    like_roberta("xlm-roberta", "XLM-RoBERTa", "XLMRoberta", "roberta."),
    like_roberta("camembert", "CamemBERT", "Camembert", "roberta."),
    Architecture(
        model_type="distilbert",
        name="DistilBERT",
        classes="DistilBert",
        prefix="distilbert.",
        settings={
            "dim": "hidden_size",
            "n_layers": "num_hidden_layers",
            "n_heads": "num_attention_heads",
            "hidden_dim": "intermediate_size",
            "activation": "hidden_act",
            "dropout": "hidden_dropout_prob",
            "attention_dropout": "attention_probs_dropout_prob",
            "seq_classif_dropout": "classifier_dropout",
        },
        defaults={"num_hidden_layers": 6, "classifier_dropout": 0.2, "qa_dropout": 0.1},
        fixed={"layer_norm_eps": 1e-12, "type_vocab_size": 0},
        keys={
            "transformer": "encoder",
            "attention.q_lin": "attention.self.query",
            "attention.k_lin": "attention.self.key",
            "attention.v_lin": "attention.self.value",
            "attention.out_lin": "attention.output.dense",
            "sa_layer_norm": "attention.output.LayerNorm",
            "ffn.lin1": "intermediate.dense",
            "ffn.lin2": "output.dense",
            "output_layer_norm": "output.LayerNorm",
            "vocab_transform": "cls.predictions.transform.dense",
            "vocab_layer_norm": "cls.predictions.transform.LayerNorm",
            "vocab_projector": "cls.predictions.decoder",
        },
        lacks=frozenset({"token_type_embeddings", "pooler", "cls.predictions.bias"}),
        drops_attention_output=False,
        heads={
            **_TASKS,
            "ForSequenceClassification": _PRE_CLASSIFIER,
            "ForTokenClassification": HeadRules(dropout="hidden_dropout_prob"),
            "ForQuestionAnswering": HeadRules(dropout="qa_dropout"),
            "ForMultipleChoice": _PRE_CLASSIFIER,
        },
    ),
    Architecture(
        model_type="electra",
        name="ELECTRA",
        classes="Electra",
        prefix="electra.",
        defaults={
            "embedding_size": 128,
            "hidden_size": 256,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "summary_activation": "gelu",
            "summary_last_dropout": 0.1,
        },
        only={"summary_type": "first", "summary_use_proj": True},
        keys={
            "generator_predictions": "cls.predictions.transform",
            "generator_lm_head": "cls.predictions.decoder",
        },
        lacks=frozenset({"pooler", "cls.predictions.bias"}),
        words_act="gelu",
        heads={
            **_TASKS,
            "ForPreTraining": HeadRules(form="discriminator_predictions"),
            "ForSequenceClassification": HeadRules(form="first_token", activation="gelu"),
            "ForMultipleChoice": HeadRules(form="sequence_summary", dropout="summary_last_dropout"),
        },
    ),
    Architecture(
        model_type="ernie",
        name="ERNIE",
        classes="Ernie",
        prefix="ernie.",
        defaults={"task_type_vocab_size": 3, "use_task_id": False},
        heads={**_TWO_SENTENCES, **_TASKS, "ForPreTraining": HeadRules(form="ernie")},
    ),
    Architecture(
        model_type="dpr",
        name="DPR",
        classes="DPR",
        prefix="question_encoder.bert_model.",
        encoders={
            "DPRQuestionEncoder": "question_encoder.bert_model.",
            "DPRContextEncoder": "ctx_encoder.bert_model.",
        },
        beside=frozenset({"encode_proj"}),
        defaults={"projection_dim": 0},
        fixed={"classifier_dropout": None, "tie_word_embeddings": True},
        masks_padding=True,
        lacks=frozenset({"pooler"}),
        pooling="first",
    ),
    Architecture(
        model_type="mpnet",
        name="MPNet",
        classes="MPNet",
        prefix="mpnet.",
        defaults={
            "vocab_size": 30527,
            "pad_token_id": 1,
            **_ENDS,
            "relative_attention_num_buckets": 32,
        },
        fixed={"type_vocab_size": 0, "classifier_dropout": None},
        keys={
            "attention.attn.q": "attention.self.query",
            "attention.attn.k": "attention.self.key",
            "attention.attn.v": "attention.self.value",
            "attention.attn.o": "attention.output.dense",
            "attention.LayerNorm": "attention.output.LayerNorm",
            **_LM_HEAD,
        },
        positions="tokens",
        padding_idx=1,
        lacks=frozenset({"token_type_embeddings"}),
        words_act="gelu",
        heads={**_TASKS, "ForSequenceClassification": _FIRST_TOKEN},
    ),
)

_BY_TYPE = {entry.model_type: entry for entry in _ENTRIES}
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(_BY_TYPE)


def class_names() -> dict[str, tuple[str, str]]:
    """Map the names of all classes but BERT's own to an architecture and the end of a name.

    The architecture is "" for those that load any.

    Examples
    --------
    >>> class_names()["ElectraForMaskedLM"], class_names()["AutoModelForMaskedLM"]
    (('electra', 'ForMaskedLM'), ('', 'ForMaskedLM'))
    """
    found = {"AutoConfig": ("", "Config"), "AutoModel": ("", "Model")}
    for kind, entry in ARCHITECTURES.items():
        found |= {f"AutoModel{end}": ("", end) for end in entry.heads}
        for end in () if kind == "bert" else ("Config", "Model", *entry.heads):
            found |= dict.fromkeys(entry.class_names(end), (kind, end))
    return found


_ROTARY = "its attention turns queries and keys by their positions (rotary embeddings)"
_DECODER = "it is a decoder, whose tokens look at those before them alone"
_BEFORE = "its LayerNorms stand before attention and feed-forward network"
_DISENTANGLED = "its attention has terms of its own for distances (disentangled attention)"
_SPARSE = "its tokens look at some of the others alone"
# What people take for a BERT, or for one of its family, and why it is none.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "albert": "all its layers share one set of weights",
        "bart": "it is an encoder with a decoder",
        "big_bird": _SPARSE,
        "convbert": "convolutions take the place of some of its attention",
        "deberta": _DISENTANGLED,
        "deberta-v2": _DISENTANGLED,
        "esm": "its tables, its LayerNorms and its attention are others",
        "eurobert": _ROTARY,
        "funnel": "its layers shorten the sequence",
        "gpt2": _DECODER,
        "layoutlm": "its input embedding has places on a page",
        "llama": _DECODER,
        "longformer": _SPARSE,
        "luke": "it has a table of entities beside that of words",
        "megatron-bert": _BEFORE,
        "mistral": _DECODER,
        "mobilebert": "its layers have bottlenecks, and no LayerNorm",
        "modernbert": _ROTARY,
        "mt5": "it is an encoder with a decoder",
        "new": _ROTARY,
        "nomic_bert": _ROTARY,
        "qwen2": _DECODER,
        "qwen3": _DECODER,
        "rembert": "its tables have another width than its decoder",
        "roberta-prelayernorm": _BEFORE,
        "roformer": _ROTARY,
        "squeezebert": "its layers are grouped convolutions",
        "t5": "it is an encoder with a decoder",
        "xlm": "its layers and its table of languages are others",
        "xlm-roberta-xl": _BEFORE,
        "xlnet": "it predicts words in every order, with two streams of attention",
    }
)

"""Which class of tokenizer a folder's files name, and what such a class takes from them.

A tokenizer is what its files say: tokenizer_config.json's ``tokenizer_class`` and ``auto_map``,
and where these are silent those of config.json. Only where no file names a class does config.json's
``model_type`` give transformers' default for it, as a BERT's is BertTokenizer. The table is that of
transformers 5.24, read from its source, with the classes that only 4.x had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy_bert.errors import TokenizerError
from numpy_bert.messages import must_be, quoted

__all__ = ["TokenizerClass", "named_class"]

_FAST = "Fast"
# These make all but the vocabulary and the added tokens by themselves.
_BERTS = (
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer"),
    *("LxmertTokenizer", "MobileBertTokenizer", "SqueezeBertTokenizer"),
)
_DPR = ("DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer", "DPRReaderTokenizer")
_MAKE_ALL = {*_BERTS, *(name + _FAST for name in _BERTS), *_DPR}
# These inherit from BertTokenizer without an __init__ of their own, and so make the frame alone.
_MAKE_FRAME = {"ConvBertTokenizer", "ConvBertTokenizerFast", *(name + _FAST for name in _DPR)}
# These were BertTokenizer in 4.x; 5.x does not know them, and takes tokenizer.json as it is.
_FORMER = {"RetriBertTokenizer", "RealmTokenizer"}
_FORMER |= {name + _FAST for name in _FORMER}
# Of these, transformers runs the Python, and never looks at a tokenizer.json.
_PYTHON = {
    *("BertJapaneseTokenizer", "BertweetTokenizer", "CanineTokenizer", "PhobertTokenizer"),
    *("ProphetNetTokenizer", "RoCBertTokenizer", "TapasTokenizer", "FlaubertTokenizer"),
    *("XLMTokenizer", "EsmTokenizer", "CpmAntTokenizer", "BlenderbotSmallTokenizer"),
    *("BioGptTokenizer", "FSMTTokenizer", "CTRLTokenizer", "ByT5Tokenizer", "PerceiverTokenizer"),
    *("GPTNeoXJapaneseTokenizer", "MgpstrTokenizer", "MyT5Tokenizer", "BertTokenizerLegacy"),
}
# These have a recipe here (recipes.py): all that transformers 5 makes of them is made.
_RECIPES = {
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LEDTokenizer"), "RobertaTokenizer"),
    **dict.fromkeys(("LongformerTokenizer", "MvpTokenizer"), "RobertaTokenizer"),
    "XLMRobertaTokenizer": "XLMRobertaTokenizer",
    "CamembertTokenizer": "CamembertTokenizer",
    "MPNetTokenizer": "MPNetTokenizer",
}
# These transformers 5 builds anew of a tokenizer.json's vocabulary, by the model it makes of it.
_BUILT_ANEW = {
    "WordPiece": ("FunnelTokenizer", "SplinterTokenizer"),
    "Unigram": (
        *("AlbertTokenizer", "BarthezTokenizer", "DebertaV2Tokenizer", "MBartTokenizer"),
        *("T5Tokenizer", "XLNetTokenizer", "BigBirdTokenizer", "RemBertTokenizer"),
        *("PegasusTokenizer", "XGLMTokenizer"),
    ),
    "BPE": (
        *("GPT2Tokenizer", "HerbertTokenizer", "CLIPTokenizer", "DebertaTokenizer"),
        *("OpenAIGPTTokenizer", "GPTNeoXTokenizer", "BlenderbotTokenizer"),
    ),
}
# Of BERT's kin, these give a model no token types.
_TYPELESS = {"DistilBertTokenizer", "DPRReaderTokenizer"}
# Only BertJapaneseTokenizer has these settings.
_JAPANESE = (
    *("word_tokenizer_type", "subword_tokenizer_type"),
    *("mecab_kwargs", "sudachi_kwargs", "jumanpp_kwargs"),
)
# Models whose tokenizer is BertTokenizer where no file names one. A tokenizer can be loaded by
# itself, whatever the model is, and its ids then are AutoTokenizer's.
_BERT_MODELS = {
    *("bert", "distilbert", "electra", "mobilebert", "squeezebert", "convbert", "layoutlm"),
    *("megatron-bert", "ernie", "nezha", "qdqbert", "realm", "retribert", "nomic_bert", "bros"),
    *("lxmert", "visual_bert", "vilt", "blip", "chinese_clip", "flava", "git", "align", "bark"),
    *("tvp", "grounding-dino", "mm-grounding-dino"),
}
# Models whose tokenizer is another of those that are read here, where no file names one.
_MODELS = {
    **dict.fromkeys(_BERT_MODELS, "BertTokenizer"),
    **dict.fromkeys(("roberta", "roberta-prelayernorm", "data2vec-text"), "RobertaTokenizer"),
    **dict.fromkeys(("bart", "ibert", "lilt", "longformer", "mega", "mra"), "RobertaTokenizer"),
    **dict.fromkeys(("xlm-roberta", "xmod", "gte", "jina_embeddings_v3"), "XLMRobertaTokenizer"),
    "camembert": "CamembertTokenizer",
    "mpnet": "MPNetTokenizer",
    "dpr": "DPRQuestionEncoderTokenizer",
}
# Models of text that have a tokenizer of their own, so that a vocab.txt is not read as BERT's.
_OTHER_MODELS = {
    *("albert", "barthez", "bartpho", "bert-generation", "bert-japanese", "bertweet", "big_bird"),
    *("bigbird_pegasus", "biogpt", "blenderbot", "blenderbot-small", "byt5", "canine", "clip"),
    *("cpm", "cpmant", "ctrl", "deberta", "deberta-v2", "esm", "flaubert", "fnet", "fsmt"),
    *("funnel", "gemma", "gpt2", "gpt_neo", "gpt_neox", "gptj", "herbert", "layoutlmv2"),
    *("layoutlmv3", "layoutxlm", "led", "llama", "luke", "markuplm", "mbart", "mistral"),
    *("modernbert", "modernbert-decoder", "mt5", "mvp", "nllb", "nystromformer", "openai-gpt"),
    *("opt", "pegasus", "perceiver", "phobert", "prophetnet", "qwen2", "qwen3", "reformer"),
    *("rembert", "roc_bert", "roformer", "splinter", "t5", "tapas", "umt5", "xglm", "xlm"),
    *("xlm-roberta-xl", "xlnet", "yoso"),
}
_KNOWN_MODELS = {*_MODELS, *_OTHER_MODELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """A class of tokenizer, and what it takes from a folder's files.

    Attributes
    ----------
    name : str or None
        The class; None if no file names or implies one.
    stated : str
        Where it is named, as the beginning of a sentence about it.
    makes : {"all", "frame", "nothing"}
        What of a WordPiece tokenizer it makes by itself, in place of tokenizer.json's: all but the
        vocabulary and the added tokens, only the special tokens around texts, or nothing.
    lowers_always : bool
        Whether it drops ``do_lower_case``, as DPR's do in transformers 5, and lower-cases.
    recipe : str or None
        The class in recipes.py of which it is, as "RobertaTokenizer"; None if it is of none.
    reads_vocabulary : bool
        Whether a vocab.txt alone makes BERT's WordPiece tokenizer of it.
    is_named : bool
        Whether one of the files names it; else config.json's ``model_type`` implies it, if any.
    gives_types : bool or None
        Whether it gives ``token_type_ids`` by default; None where it goes by tokenizer.json.
    has_own_code : bool
        Whether transformers would run Python for it, in place of reading tokenizer.json.
    built_anew : str or None
        The kind of model that transformers 5 makes anew of a tokenizer.json's vocabulary, as
        "Unigram"; None where it keeps the file, or the class is BERT's.

    Examples
    --------
    >>> named_class(Path("model"), {"tokenizer_class": "ElectraTokenizerFast"}, {}).makes
    'all'
    >>> named_class(Path("model"), {}, {"tokenizer_class": "BertweetTokenizer"}).reads_vocabulary
    False
    """

    name: str | None
    stated: str
    makes: Literal["all", "frame", "nothing"]
    lowers_always: bool
    recipe: str | None
    reads_vocabulary: bool
    is_named: bool
    gives_types: bool | None
    has_own_code: bool
    built_anew: str | None


def named_class(
    folder: Path, stated: Mapping[str, Any], model: Mapping[str, Any]
) -> TokenizerClass:
    """Return the class that tokenizer_config.json or, where that is silent, config.json names.

    Parameters
    ----------
    folder : Path
        Where the files lie, for messages.
    stated, model : mapping
        Content of tokenizer_config.json and config.json.

    Raises
    ------
    TokenizerError
        If the name is no text.
    """
    files = {"tokenizer_config.json": stated, "config.json": model}
    named = {file: _name(folder / file, content) for file, content in files.items()}
    file = next((file for file, name in named.items() if name is not None), None)
    kind = str(model.get("model_type"))
    default = _MODELS.get(kind)
    if stated.get("tokenizer_class") == "" and _bare(named["config.json"]) in (None, default):
        # To transformers 5 an empty name is one that it does not know: tokenizer.json is kept.
        file = default = None
    other = False
    if file is not None:
        # Only beside another class's model_type do transformers' look-ups keep a name's "Fast".
        bare = _bare(named[file])
        if named[file] in _MAKE_FRAME and (kind not in _KNOWN_MODELS or bare == default):
            named[file] = bare
        name, where = named[file], f"{folder / file}: tokenizer_class is {quoted(named[file])}"
    elif japanese := next((setting for setting in _JAPANESE if setting in stated), None):
        name = "BertJapaneseTokenizer"
        where = f"{folder / 'tokenizer_config.json'}: {japanese} is a setting of {name}"
    elif kind in _OTHER_MODELS:
        name, other = None, True
        where = f"{folder / 'config.json'}: model_type is {kind}, whose tokenizer is its own"
    elif default in _RECIPES:
        name = default
        where = f"{folder / 'config.json'}: model_type is {kind}, whose tokenizer is {default}"
    else:
        name, where = default, f"{folder}: no file names a tokenizer_class"
    # transformers 4 looked into config.json too, where tokenizer_config.json names no class.
    listing = files if named["tokenizer_config.json"] is None else ("tokenizer_config.json",)
    code = {custom: _custom(files[custom]) for custom in listing}
    custom = next((listed for listed, found in code.items() if found is not None), None)
    if custom is not None:
        where = f"{folder / custom}: auto_map names {quoted(code[custom])}"
    return _described(
        name, where, is_named=file is not None, custom=custom is not None, other=other
    )


def _name(path: Path, content: Mapping[str, Any]) -> str | None:
    """Return the class that a file names, None if it names none."""
    name = content.get("tokenizer_class")
    if name is not None and not isinstance(name, str):
        raise TokenizerError(
            must_be(f"{path}: tokenizer_class", "a name such as 'BertTokenizer'", name)
        )
    return name or None


def _bare(name: str | None) -> str | None:
    """Return the name of a class without its "Fast"."""
    return None if name is None else name.removesuffix(_FAST)


def _custom(content: Mapping[str, Any]) -> str | None:
    """Return the class in the repository's own code that a file names, None if it names none."""
    listed = content.get("auto_map")
    if isinstance(listed, Mapping):
        listed = listed.get("AutoTokenizer")
    entries = listed if isinstance(listed, list) else [listed]
    name = next((entry for entry in entries if isinstance(entry, str) and entry), None)
    return None if name is None else name.rpartition(".")[2]


def _described(
    name: str | None, stated: str, *, is_named: bool, custom: bool, other: bool
) -> TokenizerClass:
    """Return what is known of a class by its name, or of a model with a class of its own."""
    makes: Literal["all", "frame", "nothing"] = "nothing"
    if name in _MAKE_ALL or name in _MAKE_FRAME:
        makes = "all" if name in _MAKE_ALL else "frame"
    recipe = None if custom else _RECIPES.get(str(_bare(name)))
    return TokenizerClass(
        name=name,
        stated=stated,
        makes=makes,
        lowers_always=name in _DPR,
        recipe=recipe,
        reads_vocabulary=not (custom or other)
        and (makes != "nothing" or name is None or name in _FORMER),
        is_named=is_named,
        gives_types=_gives_types(name, recipe, makes),
        has_own_code=custom or str(name).removesuffix(_FAST) in _PYTHON,
        built_anew=None if custom else _built_anew(_bare(name)),
    )


def _gives_types(name: str | None, recipe: str | None, makes: str) -> bool | None:
    """Tell whether a class gives token types, None where its tokenizer.json decides."""
    if recipe is not None or _bare(name) in _TYPELESS:
        return False
    return True if makes != "nothing" or name in _FORMER else None


def _built_anew(name: str | None) -> str | None:
    """Return the kind of model that a class makes of a vocabulary, if it makes one anew."""
    return next((kind for kind, names in _BUILT_ANEW.items() if name in names), None)

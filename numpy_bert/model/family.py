"""The models of BERT's family: for each architecture and head a class, made of what is data.

`numpy_bert.architectures` says which there are, by transformers' names. Each is a subclass of the
BERT of this head, with the architecture that it is for, and is made when it is first asked for. The
classes ``AutoModel`` and ``AutoModelFor...`` load any of them: what config.json's model_type says.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from numpy_bert.architectures import ARCHITECTURES, Architecture, class_names
from numpy_bert.config import BertConfig
from numpy_bert.errors import ConfigError, InputError
from numpy_bert.messages import with_article
from numpy_bert.model.bert import BertModel

if TYPE_CHECKING:
    # Not when a model without a head is loaded: heads bring all code of training along.
    from numpy_bert.model import task_models

__all__ = ["model_class"]

_MODEL = "Model"


def model_class(config: BertConfig, end: str, encoder: str = "") -> Any:
    """Return the class of a config's model, or of it with a head.

    Parameters
    ----------
    config : BertConfig
        The config.
    end : str
        What the class's name ends with, as "Model" or "ForMaskedLM".
    encoder : str
        Which class it is, where an architecture has several; by default the first.

    Raises
    ------
    ConfigError
        If there is no such head of this architecture.

    Examples
    --------
    >>> model_class(BertConfig(model_type="roberta"), "Model").__name__
    'RobertaModel'
    """
    entry = config.architecture
    classes = entry.class_names(end)
    if not classes:
        raise ConfigError(
            f"{with_article(entry.name)} (model_type = {entry.model_type!r}) has no head "
            f"...{end}. AutoModel loads it without one."
        )
    return _class(encoder or classes[0], entry, end)


def _base(entry: Architecture, end: str) -> Any:
    """Return the BERT of which an architecture's class is a subclass."""
    if end == _MODEL:
        return BertModel
    if end in entry.heads and entry.heads[end].form == "discriminator_predictions":
        from numpy_bert.model.family_heads import FinderOfReplacedTokens

        return FinderOfReplacedTokens
    from numpy_bert.model import task_models

    return getattr(task_models, f"Bert{end}")


@cache
def _class(name: str, entry: Architecture, end: str) -> Any:
    """Make a class of an architecture, the first time."""
    base = _base(entry, end)
    if entry.model_type == BertModel.model_type:
        return base
    members: dict[str, Any] = {"model_type": entry.model_type}
    if end == _MODEL:
        members["encoder_name"] = name if entry.encoders else ""
        what = "the model without a head"
    else:
        from numpy_bert.model.family_heads import head_of

        members["model_class"] = _class(entry.class_names(_MODEL)[0], entry, _MODEL)
        members["kind"] = head_of(entry.model_type, end)
        what = f"the model with the head of its name's end, {end}"
    doc = f"{entry.name}: {what}. It is called, loaded and saved as `{base.__name__}` is."
    return _made(name, (base,), {**members, "__doc__": doc})


def _made(name: str, bases: tuple[type, ...], members: dict[str, Any]) -> Any:
    """Make a class of this module, which a pickle finds by its name."""
    return type(name, bases, {**members, "__module__": __name__, "__qualname__": name})


class _Auto:
    """What loads a model of any architecture, and is none itself."""

    end = _MODEL

    def __init__(self, *_: object, **__: object) -> None:
        name = type(self).__name__
        raise InputError(
            f"{name} is no model itself. {name}.from_pretrained(name) loads one of any "
            f"architecture, and {name}.from_config(config) makes a new one."
        )

    @classmethod
    def class_for(cls, config: BertConfig, where: str, encoder: str = "") -> Any:
        """Return the class of what has been found; ConfigError where it has no such head."""
        try:
            return model_class(config, cls.end, encoder)
        except ConfigError as failure:
            raise ConfigError(f"{where}: {failure}") from None

    @classmethod
    def from_config(cls, config: BertConfig, *, seed: int = 0) -> Any:
        """Make a new model of a config, with random weights.

        Parameters
        ----------
        config : BertConfig
            Sizes and settings; its model_type says which class it is of.
        seed : int
            The seed of the weights.
        """
        return model_class(config, cls.end)(config, seed=seed)


if TYPE_CHECKING:  # who checks types sees by which class of BERT's each is called

    class AutoModel(_Auto, BertModel): ...

    class AutoModelForMaskedLM(_Auto, task_models.BertForMaskedLM): ...

    class AutoModelForMultipleChoice(_Auto, task_models.BertForMultipleChoice): ...

    class AutoModelForNextSentencePrediction(_Auto, task_models.BertForNextSentencePrediction): ...

    class AutoModelForPreTraining(_Auto, task_models.BertForPreTraining): ...

    class AutoModelForQuestionAnswering(_Auto, task_models.BertForQuestionAnswering): ...

    class AutoModelForSequenceClassification(_Auto, task_models.BertForSequenceClassification): ...

    class AutoModelForTokenClassification(_Auto, task_models.BertForTokenClassification): ...


@cache
def _auto(end: str) -> Any:
    """Make a class that loads any architecture's model with a head, the first time."""
    base = _base(ARCHITECTURES["bert"], end)
    doc = (
        f"What loads a model of any architecture that is one as `{base.__name__}`: "
        "`from_pretrained` returns the class that config.json's model_type tells."
    )
    name = f"AutoModel{end.removeprefix(_MODEL)}"
    return _made(name, (_Auto, base), {"end": end, "__doc__": doc})


def __getattr__(name: str) -> Any:
    """Make a class at its first use."""
    kind, end = class_names().get(name, ("", ""))
    if end in ("", "Config"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _class(name, ARCHITECTURES[kind], end) if kind else _auto(end)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the classes, made or not yet."""
    return sorted(
        {*globals(), *(name for name, (_, end) in class_names().items() if end != "Config")}
    )

"""numpy_bert.config: nothing is guessed where a field of config.json that counts is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from numpy_bert.config import ACTIVATION_NAMES, BertConfig, config_class, read_config
from numpy_bert.errors import ConfigError, OutputError
from tests.support.checkpoints import TINY
from tests.support.limits import allocating_at_most, within
from tests.support.platforms import posix

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
WRONG = object()
NO_LABELS = {
    "classifier_dropout": None,
    "problem_type": None,
    "sbert_ce_default_activation_function": None,
    "labels": ("LABEL_0", "LABEL_1"),
}
# What a BERT has not, as it is then.
OF_OTHERS = {
    "embedding_size": None,
    "use_task_id": False,
    "task_type_vocab_size": 0,
    "projection_dim": 0,
    "relative_attention_num_buckets": 0,
    "qa_dropout": None,
    "summary_activation": None,
    "summary_last_dropout": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def read(folder: Path, **changes: Any) -> BertConfig:
    """Read TINY with some members changed; WRONG takes one away."""
    values = {key: value for key, value in (TINY | changes).items() if value is not WRONG}
    path = folder / "config.json"
    path.write_text(json.dumps(values), "utf-8")
    return BertConfig.from_json_file(path)


def refusal(folder: Path, **changes: Any) -> str:
    """Return what is said of a config.json, without the path before it."""
    with pytest.raises(ConfigError) as raised, within(5), allocating_at_most(1 << 20):
        read(folder, **changes)
    path, message = str(raised.value).split(": ", 1)
    assert path == str(folder / "config.json")
    assert len(message) < 500
    return message


def test_a_config_is_what_its_file_says(tmp_path: Path) -> None:
    config = read(tmp_path, layer_norm_eps=1e-5, pad_token_id=60)
    expected = TINY | {"layer_norm_eps": 1e-5, "pad_token_id": 60, "initializer_range": 0.02}
    expected |= NO_LABELS | OF_OTHERS | {"tie_word_embeddings": True}
    assert dataclasses.asdict(config) == expected
    assert config == BertConfig.from_json_file(str(tmp_path / "config.json"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 12  # type: ignore[misc]
    with pytest.raises(TypeError):
        BertConfig(61, 24, 2, 4, 37, 19, 3)  # type: ignore[call-arg]
    assert not hasattr(config, "__dict__")


def test_what_may_be_left_out_is_the_published_bert() -> None:
    config = BertConfig.from_dict({name: TINY[name] for name in SIZES})
    rest = {k: v for k, v in dataclasses.asdict(config).items() if k not in SIZES}
    assert rest == {
        "model_type": "bert",
        **OF_OTHERS,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        **NO_LABELS,
    }


def test_sizes_that_are_missing_are_transformers_own_and_all_named(tmp_path: Path) -> None:  # C4
    found = BertConfig.from_dict({})
    assert found == BertConfig()
    assert [getattr(found, name) for name in SIZES] == [30522, 768, 12, 12, 3072, 512, 2]
    read(tmp_path, num_attention_heads=WRONG, type_vocab_size=WRONG)
    stated = read_config(tmp_path / "config.json")
    assert stated.defaults == ("num_attention_heads", "type_vocab_size")
    assert stated.notes == (
        "config.json does not state all sizes; taken, as in transformers: "
        "num_attention_heads = 12, type_vocab_size = 2.",
    )
    read(tmp_path)
    assert read_config(tmp_path / "config.json")[2:] == ((), (), "")


def test_labels_never_stop_a_config(tmp_path: Path) -> None:
    """What stands there is for a classifier to judge: see tests/test_labels.py."""
    named = read(tmp_path, id2label={"1": "yes", "0": "no"}, label2id={"no": 0, "yes": 1})
    assert (named.labels, named.num_labels) == (("no", "yes"), 2)
    assert named.id2label == {0: "no", 1: "yes"}
    assert named.label2id == {"no": 0, "yes": 1}
    assert read(tmp_path, labels=["a"]).num_labels == 2  # nobody's member
    assert hash(named) == hash(dataclasses.replace(named))
    twice = read(tmp_path, id2label={"0": "same", "1": "same"})
    assert twice.label2id == {"same": 0}
    for nonsense in ({"num_labels": 0}, {"id2label": ["x"]}, {"label2id": 3}, {"problem_type": 1}):
        assert read(tmp_path, **nonsense) == read(tmp_path)
    one = {"problem_type": "single_label_classification", "num_labels": 1}
    assert (read(tmp_path, **one).num_labels, read(tmp_path, **one).problem_type) == (1, None)


def test_the_activation_of_scores_stops_nobody(tmp_path: Path) -> None:
    """Who reads it is held in tests/encoding/test_cross_encoder.py."""
    later = {"sentence_transformers": {"activation_fn": "torch.nn.Tanh"}}
    assert read(tmp_path, **later).sbert_ce_default_activation_function == "torch.nn.Tanh"
    assert read(tmp_path, sentence_transformers=[3]) == read(tmp_path)
    for members in (
        {"sbert_ce_default_activation_function": ["x"]},
        {"sentence_transformers": {"activation_fn": ["x"]}},
    ):
        assert read(tmp_path, **members) == read(tmp_path)
        read(tmp_path, **members)
        [note] = read_config(tmp_path / "config.json").notes
        expected = "sbert_ce_default_activation_function = ['x'] was not read; it is no name."
        assert note == expected
    with pytest.raises(ConfigError, match="must be null or a class's name; got 3"):
        BertConfig(sbert_ce_default_activation_function=3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ()}, r"labels must be a tuple of at least one name; got \(\)"),
        ({"labels": ("a", 7)}, "id2label: label 1 must be a string; got 7"),
        ({"problem_type": "guess"}, "problem_type must be one of regression, "),
        (
            {"problem_type": "single_label_classification", "labels": ("a",)},
            "problem_type = 'single_label_classification' must have at least 2 labels",
        ),
    ],
)
def test_a_config_that_is_made_has_labels_that_can_be_used(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        BertConfig(**changes)


def test_what_a_classifier_needs_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, classifier_dropout=0.25, problem_type="regression", num_labels=1)
    assert (config.classifier_dropout, config.problem_type) == (0.25, "regression")


@posix
def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:  # C1, J6
    path = tmp_path / ("x" * 300)
    with pytest.raises(ConfigError, match=r"cannot be looked at \(File name too long\)\.$"):
        BertConfig.from_json_file(path)
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(ConfigError, match="link: is a link to a file that is gone"):
        BertConfig.from_json_file(tmp_path / "link")


BAD_SIZES = [0, -1, 768.0, "768", True, None, [768], 10**12, 10**400]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", BAD_SIZES, ids=lambda value: repr(value)[:8])
def test_sizes_are_integers_within_bounds(name: str, value: object, tmp_path: Path) -> None:  # C4
    message = refusal(tmp_path, **{name: value})
    assert message.startswith(f"{name} must be an integer from 1 to ")
    assert f"; got {repr(value)[:200]}" in message


def test_the_smallest_sizes(tmp_path: Path) -> None:  # C4
    config = read(tmp_path, **dict.fromkeys(SIZES, 1))
    assert {getattr(config, name) for name in SIZES} == {1}


@pytest.mark.parametrize(
    ("name", "most"), [("vocab_size", 1 << 24), ("num_hidden_layers", 1 << 10)]
)
def test_the_largest_sizes(name: str, most: int, tmp_path: Path) -> None:  # C4
    assert getattr(read(tmp_path, **{name: most}), name) == most
    assert f"must be an integer from 1 to {most:,}; got " in refusal(tmp_path, **{name: most + 1})


BAD_NUMBERS = [-1e-12, "1e-12", None, True, [0.1], 10**400, -(10**400)]
PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")


@pytest.mark.parametrize("name", ["layer_norm_eps", *PROBABILITIES])
def test_numbers_are_in_range(name: str, tmp_path: Path) -> None:  # C6, G5
    above = [1.0000001, 2] if name in PROBABILITIES else [0, 0.0]
    expected = "a probability from 0 to 1" if name in PROBABILITIES else "a number above 0"
    for value in (*BAD_NUMBERS, *above, float("nan"), float("inf")):
        if (name, value) == ("classifier_dropout", None):
            continue
        message = refusal(tmp_path, **{name: value})
        assert message.startswith(f"{name} must be {expected}; got {repr(value)[:200]}")


@pytest.mark.parametrize("name", PROBABILITIES)
def test_both_ends_are_probabilities(name: str, tmp_path: Path) -> None:  # C6
    assert [getattr(read(tmp_path, **{name: p}), name) for p in (0, 1, 1.0)] == [0, 1, 1]


def test_any_epsilon_above_0_is_one(tmp_path: Path) -> None:  # C6
    assert [read(tmp_path, layer_norm_eps=v).layer_norm_eps for v in (1e-12, 1, 2.5)] == [
        1e-12,
        1,
        2.5,
    ]


@pytest.mark.parametrize("value", [0, 1, 2.0, 1e30])
def test_new_weights_may_be_drawn_widely(value: float, tmp_path: Path) -> None:
    assert read(tmp_path, initializer_range=value).initializer_range == value


@pytest.mark.parametrize("value", [*BAD_NUMBERS, float("nan"), float("inf")])
def test_what_only_new_weights_need_stops_no_model(value: Any, tmp_path: Path) -> None:
    assert read(tmp_path, initializer_range=value).initializer_range == 0.02
    (note,) = read_config(tmp_path / "config.json").notes
    assert note.startswith(f"initializer_range = {repr(value)[:200]}")
    assert note.endswith(" was not read; for new weights it is 0.02.")
    with pytest.raises(ConfigError, match=r"^initializer_range must be a number from 0; got "):
        BertConfig(initializer_range=value)


@pytest.mark.parametrize(
    "member", [b"NaN", b"[Infinity, -Infinity]", b"1e999", b'{"x": NaN}'], ids=repr
)
def test_members_that_nobody_reads_may_be_anything(member: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"task_specific": ' + member + b", " + json.dumps(TINY).encode()[1:])
    assert BertConfig.from_json_file(path) == BertConfig.from_dict(TINY)


@pytest.mark.parametrize("value", ACTIVATION_NAMES)
def test_known_activations_keep_their_names(value: str, tmp_path: Path) -> None:  # C7
    assert read(tmp_path, hidden_act=value).hidden_act == value


@pytest.mark.parametrize(
    ("name", "value", "only"),
    [
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("position_embedding_type", "relative_key_query", "'absolute'"),
        ("is_decoder", 1, "False"),
        ("is_decoder", "false", "False"),
        ("is_decoder", True, "False"),
        ("add_cross_attention", True, "False"),
        ("is_encoder_decoder", True, "False"),
    ],
)
def test_other_architectures_are_refused(
    name: str, value: object, only: str, tmp_path: Path
) -> None:  # C8
    message = refusal(tmp_path, **{name: value})
    assert message == f"{name} = {value!r} is not supported; only {only} is."


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (["bert"], ""),
        ("bert-generation", ""),
        ("albert", ", as all its layers share one set of weights"),
        ("deberta-v2", ", as its attention has terms of its own for distances (disentangled"),
    ],
)
def test_what_is_none_of_the_family_is_refused_by_name(
    kind: object, why: str, tmp_path: Path
) -> None:  # C8
    message = refusal(tmp_path, model_type=kind)
    assert message.startswith(f"model_type = {kind!r} is not supported{why}")
    assert "; supported are 'bert', 'roberta', 'xlm-roberta', " in message
    with pytest.raises(ConfigError, match="is not supported"):
        BertConfig(model_type=kind)


@pytest.mark.parametrize(
    ("names", "good"),
    [
        (["RobertaModel"], False),
        (["DistilBertForMaskedLM", "X\x1b[31m"], False),
        (["BertForPreTraining"], True),
        (["Other", "BertModel"], True),
        ([], True),
        (None, True),
        ("RobertaModel", True),  # no list, and ignored
    ],
)
def test_architectures_count_where_there_is_no_model_type(
    names: object, good: bool, tmp_path: Path
) -> None:  # C8, B16
    assert read(tmp_path, architectures=names) == read(tmp_path)
    if good:
        assert read(tmp_path, model_type=WRONG, architectures=names) == read(tmp_path)
        return
    message = refusal(tmp_path, model_type=WRONG, architectures=names)
    words = "architectures must name a Bert... where there is no model_type; got "
    assert message == f"{words}{names}."
    assert message.isprintable()


def test_factorized_embeddings_are_refused(tmp_path: Path) -> None:  # C8: ELECTRA, ALBERT
    assert read(tmp_path, embedding_size=24) == read(tmp_path)
    assert read(tmp_path, embedding_size=None) == read(tmp_path)  # which says nothing
    assert BertConfig.from_dict({"embedding_size": 768}) == BertConfig()  # the size not stated
    message = refusal(tmp_path, embedding_size=12)
    assert message == "embedding_size = 12 is not supported; a BERT has hidden_size."


@pytest.mark.parametrize("name", ["model_type", "position_embedding_type", "is_decoder"])
def test_an_old_config_says_nothing_of_the_architecture(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, **{name: WRONG}) == read(tmp_path, **{name: None}) == read(tmp_path)


def test_labels_in_the_words_of_transformers() -> None:
    assert BertConfig(num_labels=3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    named = BertConfig(id2label={"1": "yes", "0": "no"})
    assert named.labels == BertConfig(label2id={"yes": 1, "no": 0}).labels == ("no", "yes")
    assert BertConfig(labels=("a", "b"), num_labels=2).labels == ("a", "b")
    changes: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"}
    changed = dataclasses.replace(named, **changes)
    assert (changed.labels, changed.problem_type) == (("LABEL_0",), "regression")


def test_settings_that_are_no_fields() -> None:
    happens = {
        "architectures": ["BertModel"],
        "is_decoder": False,
        "model_type": "bert",
        "output_attentions": False,
        "return_dict": True,
        "use_cache": False,
    }
    assert BertConfig(**happens) == BertConfig()
    for name, value in (("is_decoder", True), ("return_dict", False)):
        with pytest.raises(ConfigError, match=f"^{name} = {value!r} is not supported; only"):
            BertConfig(**{name: value})
    with pytest.raises(ConfigError, match=r"^hiden_size is no setting .* Did you mean hidden_size"):
        BertConfig(hiden_size=24)
    with pytest.raises(ConfigError, match=r"^xyz is no setting of BertConfig\.$"):
        BertConfig(xyz=24)


def test_a_config_is_saved_and_read(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=24, num_attention_heads=4, id2label={0: "no", 1: "yes"})
    assert BertConfig(**config.to_dict()) == BertConfig.from_dict(config.to_dict()) == config
    config.save_pretrained(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text("utf-8")) == json.loads(
        config.to_json_string()
    )
    assert BertConfig.from_pretrained(tmp_path / "new") == config
    assert BertConfig.from_pretrained(tmp_path / "new", num_labels=3).num_labels == 3
    with pytest.raises(OutputError, match="already exists"):
        config.save_pretrained(tmp_path / "new")
    BertConfig().save_pretrained(tmp_path / "new", force=True)
    assert BertConfig.from_pretrained(tmp_path / "new") == BertConfig()
    with pytest.raises(ConfigError, match="num_labels must be an integer"):
        BertConfig.from_pretrained(tmp_path / "new", num_labels="2")


def test_a_setting_is_changed_by_either_of_its_names(tmp_path: Path) -> None:
    distilbert: Any = config_class("distilbert")
    config = distilbert(dim=24, n_heads=4)
    config.save_pretrained(tmp_path)
    for name in ("n_layers", "num_hidden_layers"):
        changed = distilbert.from_pretrained(tmp_path, **{name: 2})
        assert changed == distilbert(dim=24, n_heads=4, n_layers=2)
    with pytest.raises(ConfigError, match=r"^dim = 12 and hidden_size = 48 are one setting"):
        BertConfig.from_pretrained(tmp_path, dim=12, hidden_size=48)
    with pytest.raises(ConfigError, match="model_type must be 'distilbert'"):
        distilbert.from_pretrained(tmp_path, model_type="bert")

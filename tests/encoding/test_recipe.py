"""numpy_bert.encoding.recipe: every spelling of the files, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from numpy_bert import ConfigError, SentenceEncoder
from numpy_bert.encoding.recipe import read_recipe, read_settings
from tests.support.demo import write_plain
from tests.support.sentence_models import OLD, modules, write


@pytest.mark.parametrize("new", [False, True])
def test_both_spellings_of_the_modules(tmp_path: Path, new: bool) -> None:
    kinds = ("Transformer", "Pooling", "Dense", "Dropout", "Normalize", "LayerNorm")
    files = {
        "modules.json": modules(*kinds, new=new),
        "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
        if not new
        else {"embedding_dimension": 128, "pooling_mode": ["max", "cls"], "include_prompt": False},
        "sentence_bert_config.json": {"max_seq_length": 77, "do_lower_case": True},
    }
    recipe = read_recipe(write(tmp_path, files))
    assert recipe.folder == tmp_path
    assert recipe.pooling == (("max", "cls") if new else ("cls", "max"))
    assert recipe.width == (128 if new else None)
    assert recipe.include_prompt is not new
    assert recipe.behind == (
        ("Dense", tmp_path / "2_Dense"),
        ("Normalize", tmp_path / "4_Normalize"),
        ("LayerNorm", tmp_path / "5_LayerNorm"),
    )
    assert (recipe.max_seq_length, recipe.lower_case) == (77, True)
    assert recipe.notes == ()


def test_a_bert_in_a_folder_of_its_own(tmp_path: Path) -> None:
    write_plain(tmp_path / "0_Transformer")
    listed = modules("Transformer", "Pooling")
    listed[0]["path"] = "0_Transformer"
    files = {
        "modules.json": listed,
        "1_Pooling/config.json": {"pooling_mode": "cls"},
        "0_Transformer/sentence_bert_config.json": {"max_seq_length": 11},
    }
    encoder = SentenceEncoder.from_pretrained(write(tmp_path, files))
    assert encoder.max_seq_length == 11
    assert encoder.encode("a").shape == (128,)


@pytest.mark.parametrize(
    "kind",
    ["CNN", "LSTM", "WordWeights", "BoW", "StaticEmbedding", "Router", "x\x1b[31m"],
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", kind),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
    }
    with pytest.raises(ConfigError, match="is not supported; Transformer, Pooling") as caught:
        read_recipe(write(tmp_path, files))
    assert kind in str(caught.value) or "\\x1b" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([{"path": "", "type": "mine.Transformer"}], "the module mine.Transformer is not supp"),
        ([{"path": "", "type": "evil.models.Transformer"}], "evil.models.Transformer is not"),
        ([{"path": "", "type": "Transformer"}], "the module Transformer is not supported"),
        ([{"path": ""}], "the module '' is not supported"),
        ([], "the modules must be a Transformer, then a Pooling .*; got none"),
        (modules("Transformer"), "the modules must be a Transformer, .*; got Transformer"),
        (modules("Transformer", "Dense", "Pooling"), "; got Transformer, Dense, Pooling"),
        (modules("Transformer", "Pooling", "Pooling"), "; got Transformer, Pooling, Pooling"),
        ([{"path": "../x", "type": OLD + "Transformer"}], "must be a folder in the model's own"),
        ([{"path": "/etc", "type": OLD + "Transformer"}], "must be a folder in the model's own"),
        ({"a": 1}, "is not a list of modules"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, listed: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe(write(tmp_path, {"modules.json": listed}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode": "sum"},
            "pooling_mode must be one or a list of .*; got 'sum'",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode": []},
            r"pooling_mode must be one or .*; got \[\]",
        ),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", 1]}, "one or a list of"),
        ("1_Pooling/config.json", {"pooling_mode_attention": True}, "'?pooling_mode_attention"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": 1}, "must be true or false; got 1"),
        (
            "1_Pooling/config.json",
            {"include_prompt": "no"},
            "include_prompt must be true or false; got 'no'",
        ),
        (
            "1_Pooling/config.json",
            {"embedding_dimension": 0},
            "embedding_dimension must be .*; got 0",
        ),
        ("1_Pooling/config.json", b"[", "is not JSON"),
        (
            "sentence_bert_config.json",
            {"max_seq_length": 5.5},
            "max_seq_length must be a number .*; got 5.5",
        ),
        (
            "sentence_bert_config.json",
            {"max_seq_length": "a"},
            "max_seq_length must be a number .*; got 'a'",
        ),
        (
            "sentence_bert_config.json",
            {"do_lower_case": 1},
            "do_lower_case must be true or false; got 1",
        ),
        ("sentence_bert_config.json", {"do_lowercase": True}, "do_lowercase is not supported for"),
        (
            "sentence_bert_config.json",
            {"model_args": {"num_hidden_layers": 1}},
            "model_args must be an object of dtype, .*; got {",
        ),
        ("sentence_bert_config.json", {"tokenizer_args": {"do_lower_case": 0}}, "of model_max_len"),
        ("sentence_bert_config.json", {"tokenizer_args": []}, "tokenizer_args must be "),
        (
            "sentence_bert_config.json",
            {"config_kwargs": {"x": 1}},
            "config_kwargs must be an empty object; got",
        ),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"text": {}}},
            "processing_kwargs must be {}; got {",
        ),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "x"}, "tokenizer_name_or_path"),
        (
            "sentence_xlnet_config.json",
            {"max_seq_length": True},
            "max_seq_length must be a number .*; got True",
        ),
        (
            "sentence_bert_config.json",
            {"transformer_task": "fill-mask"},
            "must be 'feature-extraction'; got 'fill-mask'",
        ),
        (
            "sentence_bert_config.json",
            {"module_output_name": "x"},
            "must be 'token_embeddings'; got 'x'",
        ),
        ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, name: str, content: Any, words: str) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
    }
    folder = write(tmp_path, files)
    assert read_recipe(folder).pooling == ("mean",)
    with pytest.raises(ConfigError, match=words) as caught:
        read_recipe(write(folder, {name: content}))
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "expected"), [(-1, None), (0, None), (None, None), (9.0, 9), ("9", 9), (9, 9)]
)
def test_a_limit_is_taken_for_what_it_can_only_mean(
    tmp_path: Path, stated: object, expected: int | None
) -> None:
    files = {
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "1_Pooling/config.json": {"pooling_mode": "mean"},
        "sentence_bert_config.json": {"max_seq_length": stated},
    }
    assert read_recipe(write(tmp_path, files)).max_seq_length == expected


def test_a_missing_pooling_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1_Pooling.config\.json: does not exist"):
        read_recipe(write(tmp_path, {"modules.json": modules("Transformer", "Pooling")}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"prompts": [1]}, "prompts must be "),
        ({"prompts": {"a": 1}}, "an object of texts by their names"),
        (
            {"prompts": {"a": "\ud800"}},
            r"sentence_transformers\.json: prompts\['a'\]: character 0 is U\+D800, half",
        ),
        (
            {"default_prompt_name": "a"},
            "default_prompt_name must be null or the name of one .*; got 'a'",
        ),
        ({"truncate_dim": 0}, "truncate_dim must be .*; got 0"),
        (
            {"model_type": "SparseEncoder"},
            "model_type must be 'SentenceTransformer'; got 'SparseEncoder'",
        ),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    files = {"config_sentence_transformers.json": content, "modules.json": []}
    folder = write(tmp_path, files)
    with pytest.raises(ConfigError, match=words):
        read_settings(folder)


def test_settings(tmp_path: Path) -> None:
    assert read_settings(tmp_path).similarity_fn_name == "cosine"
    content = {
        "prompts": {"query": "q: ", "none": None},
        "default_prompt_name": "query",
        "similarity_fn_name": None,
        "truncate_dim": 9,
    }
    folder = write(tmp_path, {"config_sentence_transformers.json": content})
    assert read_settings(folder).prompts == {}  # without modules.json it is not read
    settings = read_settings(write(folder, {"modules.json": []}))
    assert settings.prompts == {"query": "q: ", "none": ""}
    assert settings.default_prompt_name == "query"
    assert settings.similarity_fn_name == "cosine"
    assert settings.truncate_dim == 9


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cos_sim", "'cos_sim' is not read by sentence-transformers; it is cosine."),
        ("dot_score", "cosine is taken, as there. Set 'dot' if another is meant."),
        ("maxsim", "cosine is taken, as there. Set one of cosine, dot, euclidean, manhattan if"),
        (["dot"], "['dot'] is not read"),
        ("", "'' is not read"),
    ],
)
def test_a_similarity_by_another_name(tmp_path: Path, name: Any, words: str) -> None:
    content = {"similarity_fn_name": name, "nobody": float("nan")}
    files = {"config_sentence_transformers.json": content, "modules.json": []}
    settings = read_settings(write(tmp_path, files))
    assert settings.similarity_fn_name == "cosine"
    (note,) = settings.notes
    assert words in note

"""What names stand for: rules of other frameworks, and the user's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_bert import TraceError
from numpy_bert.traces.layout import step_names
from numpy_bert.traces.names import OTHER_NAMES, NameMap, matches, read_map, stars
from tests.support.limits import within

# What a hook of TransformerLens' HookedEncoder is called, and the step that it is; from its
# BertBlock and BertEmbed.
LENS = {
    "embed.hook_embed": "embeddings.word_embeddings",
    "embed.hook_pos_embed": "embeddings.position_embeddings",
    "embed.hook_token_type_embed": "embeddings.token_type_embeddings",
    "embed.ln.hook_normalized": "embeddings.LayerNorm",
    "hook_full_embed": "embeddings",
    "blocks.1.attn.hook_q": "encoder.layer.1.attention.self.query",
    "blocks.1.attn.hook_pattern": "encoder.layer.1.attention.self.probs",
    "blocks.1.attn.hook_z": "encoder.layer.1.attention.self",
    "blocks.1.hook_attn_out": "encoder.layer.1.attention.output.dense",
    "blocks.1.hook_resid_mid": "encoder.layer.1.attention.output.sum",
    "blocks.1.hook_resid_post": "encoder.layer.1.output.sum",
    "blocks.11.hook_normalized_resid_post": "encoder.layer.11",
}
OTHERS = {
    "bert.encoder.layer.3.output": "encoder.layer.3.output",
    "0.auto_model.embeddings": "embeddings",
    "module.model.pooler": "pooler",
    "encoder.layer.0.intermediate.intermediate_act_fn": "encoder.layer.0.intermediate",
    "pooler.activation": "pooler",
    "last_hidden_state": "encoder",
    "pooler_output": "pooler",
    "hidden_states.0": "embeddings",
    "hidden_states_12": "encoder.layer.11",
    "hidden_states/0": "embeddings",
    "hidden_states/3": "encoder.layer.2",
    "bert.hidden_states[0]": "embeddings",
    "hidden_states[12]": "encoder.layer.11",
    "hidden_states_00": "embeddings",
    "hidden_states": "hidden_states",
    "hidden_states.x": "hidden_states.x",
    "attentions.2": "encoder.layer.2.attention.self.dropout",
    "attentions/0": "encoder.layer.0.attention.self.dropout",
    "/model/encoder/layer.4/output/Add_output_0": "encoder.layer.4.output.sum",
    "/embeddings/Add_1_output_0": "embeddings.sum",
    "/bert/pooler/dense/Gemm_output_0": "pooler.dense",
    "bert.embeddings.LayerNorm.gamma": "embeddings.LayerNorm.weight",
    "something.else": "something.else",
}
# What hooks on the other architectures see, as transformers calls their modules.
FAMILY = {
    "roberta.encoder.layer.1.attention.self.query": "encoder.layer.1.attention.self.query",
    "roberta": "encoder",
    "distilbert.transformer": "encoder",
    "transformer.layer.0": "encoder.layer.0",
    "transformer.layer.0.attention.q_lin": "encoder.layer.0.attention.self.query",
    "transformer.layer.0.attention.out_lin": "encoder.layer.0.attention.output.dense",
    "transformer.layer.0.attention": "encoder.layer.0.attention.output.dense",
    "transformer.layer.0.attention.dropout": "encoder.layer.0.attention.self.dropout",
    "transformer.layer.0.sa_layer_norm": "encoder.layer.0.attention.output.LayerNorm",
    "transformer.layer.0.ffn.lin1": "encoder.layer.0.intermediate.dense",
    "transformer.layer.0.ffn.activation": "encoder.layer.0.intermediate",
    "transformer.layer.0.ffn.lin2": "encoder.layer.0.output.dense",
    "transformer.layer.0.ffn.dropout": "encoder.layer.0.output.dropout",
    "transformer.layer.0.ffn": "encoder.layer.0.output.dropout",
    "transformer.layer.0.output_layer_norm": "encoder.layer.0.output.LayerNorm",
    "transformer.layer.0.attention.q_lin.weight": "encoder.layer.0.attention.self.query.weight",
    "mpnet.encoder.layer.2.attention.attn.k": "encoder.layer.2.attention.self.key",
    "encoder.layer.2.attention.attn.o": "encoder.layer.2.attention.output.dense",
    "encoder.layer.2.attention.attn": "encoder.layer.2.attention.output.dense",
    "encoder.layer.2.attention.attn.dropout": "encoder.layer.2.attention.self.dropout",
    "encoder.layer.2.attention.dropout": "encoder.layer.2.attention.output.dropout",
    "encoder.layer.2.attention.LayerNorm": "encoder.layer.2.attention.output.LayerNorm",
    "encoder.relative_attention_bias": "encoder.relative_attention_bias",
    "electra.embeddings_project": "embeddings_project",
    "ernie.embeddings.task_type_embeddings": "embeddings.task_type_embeddings",
    "question_encoder.bert_model.embeddings": "embeddings",
    "ctx_encoder.bert_model": "encoder",
    "question_encoder": "encoder",
    "question_encoder.encode_proj": "pooler.dense",
}


@pytest.mark.parametrize(("name", "step"), {**LENS, **OTHERS, **FAMILY}.items())
def test_names_of_other_frameworks(name: str, step: str) -> None:
    assert NameMap()(name).step == step


def test_every_built_in_rule_leads_to_a_step() -> None:
    names = set(step_names(4, pools=True))
    for name in OTHER_NAMES:
        assert NameMap()(name.replace("*", "3")).step in names, name


def test_a_users_rule_comes_first() -> None:
    names = NameMap(
        {
            "h.*.attn.*": "encoder.layer.*.attention.self.*",
            "h.*.q": ("encoder.layer.*.attention.self.query", "BATD"),
            "pooler": "pooler.dense",
            "debug.*": None,
        }
    )
    assert names("h.7.attn.key").step == "encoder.layer.7.attention.self.key"
    assert names("h.7.q") == ("encoder.layer.7.attention.self.query", "BATD")
    assert names("pooler").step == "pooler.dense"
    assert names("debug.anything").step == ""
    assert names("h.7") == ("h.7", None)


@pytest.mark.parametrize("rule", [3, "", ("x",), "step.*.*", ("a", "Q")])
def test_rules_in_memory_are_checked_too(rule: Any) -> None:
    with pytest.raises(TraceError, match=r"must lead to|must not have more"):
        NameMap({"their.*": rule})


def test_a_name_without_end_is_refused() -> None:
    from numpy_bert.traces.reading import as_trace

    with pytest.raises(TraceError, match="a name must have at most 500 characters; got 100,000"):
        as_trace({"/a" * 50_000: np.ones(1)})


def test_a_glob_is_for_the_whole_name() -> None:
    assert matches("encoder.layer.1.output", ["pooler", "encoder.*.output"])
    assert not matches("encoder.layer.1.output.dense", ["encoder.*.output"])
    assert not matches("a.b", ["a?b"])


@given(glob=st.text("ab*.", max_size=9), name=st.text("ab.\n", max_size=14))
def test_stars_stand_for_what_a_greedy_expression_gives_them(glob: str, name: str) -> None:
    pattern = "(.*)".join(re.escape(part) for part in glob.split("*"))
    expected = re.fullmatch(pattern, name, re.DOTALL)
    found = stars(glob.split("*"), name)
    assert found == (None if expected is None else list(expected.groups()))


def test_many_stars_do_not_take_long() -> None:
    globs = ["*a" * 30 + "b", "*a*a*a*a*a*a*b", "*a*" * 100 + "*c"]
    with within(1):
        assert not matches("a" * 500, globs)
        assert NameMap(dict.fromkeys(globs, "pooler"))("a" * 500).step == "a" * 500
    name = "/a" * 50_000
    with within(1):
        assert NameMap()(name).step == name


def test_the_first_rule_that_fits_counts_with_a_star_or_without() -> None:
    assert NameMap({"a.*": "pooler", "a.b": "encoder"})("a.b").step == "pooler"
    assert NameMap({"a.b": "encoder", "a.*": "pooler"})("a.b").step == "encoder"


def test_a_map_of_more_globs_than_a_bert_has_names_is_refused() -> None:
    names = NameMap({f"a{n}": f"step.{n}" for n in range(5000)})
    assert names("a4321").step == "step.4321"
    with pytest.raises(TraceError, match=r"at most 1,000 names with a \*; got 1,001\. Let one"):
        NameMap({f"a{n}.*": "pooler" for n in range(1001)})


def test_a_map_is_read(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(
        '{"q.*": ["encoder.layer.*.attention.self.query", "BATD"], "x": null, "y": "z"}'
    )
    found = read_map(path)
    assert found == {"q.*": ("encoder.layer.*.attention.self.query", "BATD"), "x": None, "y": "z"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (3, r"their\.\* must lead to the name of a step, .*; got 3"),
        (["a", "BXQ"], "with the letters of the array's axes, or to null"),
        (["a", "B", "c"], "must lead to the name of a step"),
        ("a.*.*", r"a\.\*\.\* must not have more \* than"),
        ("", "must lead to the name of a step"),
        (["input_ids", "BT"], r"must lead to input_ids without axes, which are always \(B, T\)"),
    ],
)
def test_a_map_that_is_none(tmp_path: Path, rule: Any, message: str) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"their.*": rule}))
    with pytest.raises(TraceError, match=message):
        read_map(path)

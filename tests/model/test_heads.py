"""The models of the tasks: what a call returns, and what the tasks' methods make of texts."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertModel
from numpy_bert.blocks import heads
from numpy_bert.errors import InputError
from numpy_bert.tasks import batches, entities
from tests.support.heads import CONFIG, TREES, head_tensors, write_head
from tests.support.tokenizer_files import TOKENS

MASK = TOKENS.index("[MASK]")
LONG = "hello world " * 20  # 42 tokens, of which the model reads 19
DROPS = {"BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("heads")
    return {name: write_head(root / name, name) for name in TREES}


def load(folders: dict[str, Path], name: str, **options: Any) -> Any:
    return getattr(numpy_bert, f"BertFor{name}").from_pretrained(
        folders[f"BertFor{name}"], **options
    )


def ids(name: str) -> Any:
    found = np.random.default_rng(0).integers(5, 60, (3, 7))
    return found.reshape(1, 3, 7) if name == "BertForMultipleChoice" else found


@pytest.mark.parametrize("name", TREES)
def test_a_call_is_its_steps(name: str, folders: dict[str, Path]) -> None:
    kind = getattr(numpy_bert, name)
    model = kind.from_pretrained(folders[name], dtype="float64")
    assert model.eval() is model
    assert model.dtype == "float64"
    assert isinstance(model.bert, BertModel)
    steps, output = model.steps(ids(name)), model(ids(name))
    assert output.hidden_states is None
    assert output.attentions is None
    head = getattr(steps, "cls", None) or steps
    scores = getattr(head, "classifier", None)
    if scores is not None:
        np.testing.assert_array_equal(output.logits.ravel(), scores.ravel())
    more = model(ids(name), output_hidden_states=True, output_attentions=True)
    np.testing.assert_array_equal(more[0], output[0])
    np.testing.assert_array_equal(more.hidden_states[-1], steps.bert.encoder.output)
    assert len(more.attentions) == 2


@pytest.mark.parametrize("name", TREES)
def test_dropout_is_drawn_from_rng(name: str, folders: dict[str, Path]) -> None:
    model = getattr(numpy_bert, name).from_pretrained(folders[name])
    plain, seeded = model(ids(name))[0], model(ids(name), rng=np.random.default_rng(1))[0]
    assert not np.array_equal(plain, seeded)
    np.testing.assert_array_equal(model(ids(name), rng=np.random.default_rng(1))[0], seeded)
    steps = model.steps(ids(name), rng=np.random.default_rng(1))
    assert hasattr(steps, "dropout") == (name in DROPS)
    if name in DROPS:
        assert steps.dropout.keep.shape == steps.dropout.output.shape


@pytest.mark.parametrize("name", TREES)
def test_masks_of_any_numbers_and_none(name: str, folders: dict[str, Path]) -> None:
    model, given = getattr(numpy_bert, name).from_pretrained(folders[name]), ids(name)
    mask = np.ones(given.shape, np.int64)
    mask[..., 5:] = 0
    labels: dict[str, Any] = {
        "BertForPreTraining": {"labels": given, "next_sentence_label": [0, 1, 0]},
        "BertForMaskedLM": {"labels": given},
        "BertForTokenClassification": {"labels": np.zeros(given.shape, int)},
        "BertForQuestionAnswering": {"start_positions": [1, 2, 9], "end_positions": [3, 6, 9]},
        "BertForMultipleChoice": {"labels": [0]},
    }.get(name, {"labels": [0, 1, 0]})
    expected = [model(given, mask), model(given, mask, **labels)]
    gradients = model.loss_and_gradients({"input_ids": given, "attention_mask": mask, **labels})
    for dtype in (np.bool_, np.uint8, np.float32, np.float64):
        other = mask.astype(dtype)
        for options, right in zip(({}, labels), expected, strict=True):
            found = model(given, other.tolist() if dtype is np.float32 else other, **options)
            assert found[0] is not None
            assert all(
                np.asarray(found[key]).tobytes() == np.asarray(right[key]).tobytes()
                for key in found
            )
        again = model.loss_and_gradients({"input_ids": given, "attention_mask": other, **labels})
        assert again.loss == gradients.loss
    ragged = [[[1, 1], [1]]] if name == "BertForMultipleChoice" else [[1, 1], [1]]
    for options in ({}, labels):
        with pytest.raises(InputError, match=r"^attention_mask must have rows of one length"):
            model(given, ragged, **options)
        with pytest.raises(
            InputError, match=r"^attention_mask must be numbers or booleans, 0 or 1; got dtype <U1"
        ):
            model(given, mask.astype("U1"), **options)
        with pytest.raises(
            InputError, match=r"^attention_mask\[0, 0\] must be 1 for a token .*; got 0.5"
        ):
            model(given, mask * 0.5, **options)


def test_wrong_inputs_are_refused_by_name(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="sequence of 0 tokens has no first one"):
        load(folders, "SequenceClassification")(np.empty((2, 0), np.int64))
    choice = load(folders, "MultipleChoice")
    with pytest.raises(InputError, match=r"input_ids must have shape \(B, C, T\); got \(1, 2\)"):
        choice([[2, 3]])
    with pytest.raises(InputError, match=r"attention_mask must have a shape that begins by"):
        choice([[[2, 3], [2, 3]]], attention_mask=[[[1, 1]]])
    with pytest.raises(InputError, match=r"attention_mask must have a shape that begins by"):
        choice(None, [[[1, 1]]], [[[0, 0]] * 2], inputs_embeds=np.zeros((1, 2, 2, 24), np.float32))
    with pytest.raises(InputError, match="needs input_ids or inputs_embeds"):
        choice()


def test_choices_do_not_know_each_other(folders: dict[str, Path]) -> None:
    model, given = load(folders, "MultipleChoice", dtype="float64"), ids("BertForMultipleChoice")
    together = model(given).logits
    assert together.shape == (1, 3)
    for choice in range(3):
        alone = model(given[:, [choice]]).logits
        np.testing.assert_allclose(alone[0, 0], together[0, choice], rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["copy", "pickle"])
def test_a_model_survives_copying(how: str, folders: dict[str, Path]) -> None:
    model = load(folders, "MaskedLM")
    found = copy.deepcopy(model) if how == "copy" else pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(found([[2, 5]]).logits, model([[2, 5]]).logits)


def test_fill_mask_is_the_softmax_at_the_mask(folders: dict[str, Path]) -> None:
    model = load(folders, "MaskedLM", dtype="float64")
    encoded = model.tokenizer("hello [MASK] the [MASK]", return_tensors="np")
    logits = model(**encoded).logits[0]
    for place, fills in zip((2, 4), model.fill_mask("hello [MASK] the [MASK]", 3), strict=True):
        row = np.exp(logits[place] - logits[place].max())
        row /= row.sum()
        best = np.argsort(-row)[:3]
        assert [fill.token for fill in fills] == best.tolist()
        np.testing.assert_allclose([fill.score for fill in fills], row[best], rtol=1e-10)
        assert all("[MASK]" in fill.sequence for fill in fills)


def test_fill_mask_scores_no_other_place(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen, real = load(folders, "MaskedLM"), [], heads.lm_prediction

    def spy(parameters: Any, decoder: Any, hidden: Any, **options: Any) -> Any:
        seen.append(hidden.shape)
        return real(parameters, decoder, hidden, **options)

    monkeypatch.setattr(heads, "lm_prediction", spy)
    model.fill_mask(["hello [MASK] world", "the [MASK] [MASK] un"])
    assert seen == [(3, 24)]


def test_fill_mask_of_targets(folders: dict[str, Path]) -> None:
    model = load(folders, "MaskedLM")
    everything = {f.token_str: f.score for f in model.fill_mask("the [MASK]", len(TOKENS))}
    found = model.fill_mask("the [MASK]", targets=["world", "un", "World"])
    assert {fill.token_str for fill in found} == {"world", "un"}
    assert all(fill.score == everything[fill.token_str] for fill in found)
    for targets, what in (
        ("unaffable", "targets must be a single token .*; got unaffable .*un ##aff ##able"),
        (["un", "☃"], r"targets\[1\] must be a single token .*; got ☃"),
        ([], "targets must not be empty"),
    ):
        with pytest.raises(InputError, match=what):
            model.fill_mask("the [MASK]", targets=targets)


def test_a_text_without_a_mask_is_named(folders: dict[str, Path]) -> None:
    model = load(folders, "MaskedLM")
    with pytest.raises(InputError, match=r"^text has no \[MASK\]"):
        model.fill_mask("hello")
    with pytest.raises(InputError, match=r"^text\[1\] has no \[MASK\]"):
        model.fill_mask(["[MASK]", "hello"])
    with pytest.raises(InputError, match=r"^text\[0\] must be a str; got tuple"):
        model.fill_mask([("[MASK]", "hello")])
    with pytest.raises(InputError, match=r"top_k must be .*; got 0"):
        model.fill_mask("[MASK]", top_k=0)


def test_a_mask_is_not_cut_off(folders: dict[str, Path]) -> None:  # E9
    model = load(folders, "MaskedLM")
    with pytest.raises(InputError, match=r"^text\[1\] has 43 tokens, but the model reads 19"):
        model.fill_mask(["[MASK]", f"{LONG} [MASK]"])
    with pytest.warns(UserWarning, match=r"1 of 2 texts cut to the 19 .*text\[1\] has 43") as seen:
        found = model.fill_mask(["[MASK]", f"[MASK] {LONG}"])
    assert len(seen) == 1
    assert [len(fills) for fills in found] == [5, 5]


@pytest.mark.parametrize("budget", [1, 20, 4096])
def test_results_stand_in_the_order_of_the_texts(
    budget: int, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_TOKENS", budget)
    monkeypatch.setattr(batches, "TEXTS", 3)
    monkeypatch.setattr(entities, "TEXTS", 3)
    texts = ["hello", "the world", "un", "hello unaffable world", "a b c d e f", "", "hello world"]
    model = load(folders, "SequenceClassification", dtype="float64")
    for text, found in zip(texts, model.classify(texts), strict=True):
        for one, other in zip(found, model.classify(text), strict=True):
            assert one.label == other.label
            assert one.score == pytest.approx(other.score, abs=1e-12)
    judge = load(folders, "NextSentencePrediction", dtype="float64")
    for text, found in zip(texts, judge.is_next(texts, texts[::-1]), strict=True):
        alone = judge.is_next(text, texts[::-1][texts.index(text)])
        assert found.score == pytest.approx(alone.score, abs=1e-12)


def test_no_texts_have_no_results(folders: dict[str, Path]) -> None:  # E12
    assert load(folders, "MaskedLM").fill_mask([]) == []
    assert load(folders, "SequenceClassification").classify([]) == []
    assert load(folders, "TokenClassification").tag([]) == []
    assert load(folders, "QuestionAnswering").answer([], []) == []
    assert load(folders, "NextSentencePrediction").is_next([], []) == []


def test_classify_warns_once_of_cuts(folders: dict[str, Path]) -> None:
    model = load(folders, "SequenceClassification")
    with pytest.warns(UserWarning, match="2 of 3 texts cut") as seen:
        assert len(model.classify([LONG, "hello", LONG], top_k=2)[0]) == 2
    assert len(seen) == 1
    with pytest.raises(InputError, match=r"function_to_apply must be one of .*; got 'tanh'"):
        model.classify("hello", function_to_apply="tanh")


def test_tags_point_into_the_text(folders: dict[str, Path]) -> None:
    model = load(folders, "TokenClassification")
    text = "Hello  unaffable WORLD ☃ été"
    found = model.tag(text, "none")
    assert [text[tag.start : tag.end] for tag in found] == [
        "Hello",
        "un",
        "aff",
        "able",
        "WORLD",
        "☃",
        "été",
    ]
    assert [tag.word for tag in found][1:4] == ["un", "##aff", "##able"]
    assert found[5].word == "☃"  # the vocabulary does not have it
    words = {tag.word: text[tag.start : tag.end] for tag in model.tag(text, "first")}
    assert any("unaffable" in word for word in words)
    assert model.tag(text, "none", ignore_labels=model.config.labels) == []
    with pytest.raises(InputError, match=r"aggregation must be one of .*; got 'last'"):
        model.tag(text, "last")
    with pytest.raises(InputError, match=r"^stride must be a whole number from 0; got -1\.$"):
        model.tag(text, stride=-1)


ODD: Any = ("O", b"O", 3, None, np.ones(3))


@pytest.mark.parametrize(
    ("name", "arguments", "option", "values"),
    [
        ("SequenceClassification", ("a",), "function_to_apply", ODD[:3] + ODD[4:]),
        ("TokenClassification", ("a",), "aggregation", ODD),
        ("TokenClassification", ("a",), "ignore_labels", ODD[:4]),
        ("QuestionAnswering", ("a", "b"), "handle_impossible_answer", ODD),
    ],
)
def test_an_option_of_another_kind_is_refused_by_name(
    folders: dict[str, Path], name: str, arguments: Any, option: str, values: Any
) -> None:
    model = load(folders, name)
    task = {"Sequ": "classify", "Toke": "tag", "Ques": "answer"}[name[:4]]
    for value in values:
        with pytest.raises(InputError, match=f"^{option} must be .*; got "):
            getattr(model, task)(*arguments, **{option: value})


def test_tags_of_a_long_text_point_into_it(folders: dict[str, Path]) -> None:
    model = load(folders, "TokenClassification")
    text = "Hello  unaffable WORLD " * 9
    found = model.tag(text, "none", ignore_labels=(), stride=3)
    assert [tag.index for tag in found] == list(range(1, 46))
    assert {text[tag.start : tag.end] for tag in found} == {"Hello", "un", "aff", "able", "WORLD"}
    assert [tag.start for tag in found] == sorted({tag.start for tag in found})


def test_tags_of_words(folders: dict[str, Path]) -> None:
    model = load(folders, "TokenClassification")
    words = ["Hello", "unaffable", "", "☃", "b c"]
    found = model.tag(words, "none", is_split_into_words=True, ignore_labels=())
    assert [(tag.word, tag.index, tag.start, tag.end) for tag in found] == [
        ("Hello", 0, 0, 5),
        ("unaffable", 1, 6, 15),
        ("☃", 3, 17, 18),
        ("b c", 4, 19, 22),
    ]
    assert model.tag([words], "none", is_split_into_words=True, ignore_labels=()) == [found]
    assert model.tag([[]], is_split_into_words=True) == [[]]
    with pytest.raises(InputError, match=r"^text must be a list of words, .*; got one text\."):
        model.tag("Hello world", is_split_into_words=True)
    with pytest.raises(InputError, match=r"^is_split_into_words must be True or False; got 1\.$"):
        model.tag(words, is_split_into_words=1)


def test_an_answer_is_a_part_of_the_context(folders: dict[str, Path]) -> None:
    model = load(folders, "QuestionAnswering", dtype="float64")
    context = "hello unaffable  world"
    found = model.answer("the un ?", context, top_k=20)
    assert len(found) == 6  # of three words: every span, each once
    assert all(context[best.start : best.end] == best.answer for best in found)
    assert [best.score for best in found] == sorted((b.score for b in found), reverse=True)
    assert model.answer(["the un ?"] * 2, [context] * 2, top_k=20) == [found, found]
    empty = model.answer("the", context, top_k=20, handle_impossible_answer=True)
    assert [best.answer for best in empty].count("") == 1


def test_a_long_context_is_read_to_its_end(folders: dict[str, Path]) -> None:
    """Raise one word's scores at the end of a long context: it must be found."""
    model = load(folders, "QuestionAnswering", dtype="float64")
    context = "hello world " * 40 + "unaffable the"
    place = context.index("unaffable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.answer("the un", context, top_k=5000, max_answer_len=3)
    assert (place, place + len("unaffable")) in {(best.start, best.end) for best in found}
    starts = {best.start for best in found}
    assert starts >= {0, 6, 474, place}  # words at both ends and between


@pytest.mark.parametrize(
    ("question", "context", "what"),
    [
        ("hello", "  ", "^context has no tokens"),
        (
            LONG,
            "world",
            "^question takes 43 tokens with the frame around it, but the model reads 19",
        ),
        (["hello", "the"], ["un", ""], r"^\[1\]: context has no tokens"),
        ("hello", None, "^context must be a text.*; got None"),
        (7, "hello", "^question must be a str.*; got int"),
        (["a"], ["a", "b"], "^context must be a list of 1 texts, as question is; got 2"),
    ],
)
def test_what_cannot_be_answered(
    question: Any, context: Any, what: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(InputError, match=what):
        load(folders, "QuestionAnswering").answer(question, context)


def test_a_tokenizer_can_be_set(tmp_path: Path, folders: dict[str, Path]) -> None:
    name = "BertForMaskedLM"
    folder = write_head(tmp_path, name, head_tensors(name), CONFIG)
    (folder / "tokenizer.json").unlink()
    model = numpy_bert.BertForMaskedLM.from_pretrained(folder)
    assert model([[2, 5, 3]]).logits.shape == (1, 3, len(TOKENS))
    model.tokenizer = load(folders, "MaskedLM").tokenizer
    assert len(model.fill_mask("[MASK]")) == 5

"""A student: it learns, it is its parameters, and it says what does not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertModel,
    BertTokenizer,
    InputError,
    OutputError,
    SentenceEncoder,
    TrainingError,
)
from numpy_bert.loading.cache import demo_folder
from numpy_bert.model.saving import write_tensors
from numpy_bert.training import (
    JointData,
    JointModel,
    LabelledTexts,
    SentenceStudent,
    TaughtTexts,
    Trainer,
    TrainingArguments,
)
from tests.support.pages import random_model

TEXTS = ["the cat sat", "a dog ran to the house", "the sun is up", "alice saw a rabbit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(
        tmp_path_factory.mktemp("model"),
        hidden_size=36,
        num_attention_heads=4,
        num_hidden_layers=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def new(folder: Path, features: int = 5) -> SentenceStudent:
    return SentenceStudent.new(BertModel.from_pretrained(folder), features, folder)


def test_it_follows_its_teacher(folder: Path, tmp_path: Path) -> None:
    tokenizer, student = BertTokenizer.from_pretrained(folder), new(folder)
    vectors = np.random.default_rng(0).standard_normal((4, 5)).astype("f4")
    data = TaughtTexts(TEXTS, vectors, tokenizer)
    settings = TrainingArguments(max_steps=80, per_device_train_batch_size=4, learning_rate=3e-3)

    def likeness(student: SentenceStudent) -> np.ndarray:
        found = student.encoder(tokenizer).encode(TEXTS)
        return found @ found.T

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = unit @ unit.T
    before = np.abs(likeness(student) - wanted).max()
    trained = Trainer(student, data, settings, tmp_path).train()
    assert np.abs(likeness(trained) - wanted).max() < 0.1 * before
    batch = data.batch(np.arange(4), np.random.default_rng(0))
    assert trained.loss_and_gradients(batch).loss < 0.05
    assert np.array_equal(  # the one it began from stays as it was
        dict(student.named_parameters())["projection.weight"], new(folder).head.projection.weight
    )


def test_the_best_students_are_kept_with_their_map(folder: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 5)).astype("f4")
    data = TaughtTexts(TEXTS, vectors, BertTokenizer.from_pretrained(folder))
    scores, seen = [0.9, 0.1], []

    def evaluate(student: SentenceStudent) -> float:
        seen.append(np.array(student.head.projection.weight))
        return scores[len(seen) - 1]

    settings = TrainingArguments(max_steps=2, eval_steps=1, learning_rate=1e-2)
    trained = Trainer(new(folder), data, settings, tmp_path, evaluate=evaluate).train()
    assert np.array_equal(trained.head.projection.weight, seen[0])
    assert not np.array_equal(seen[0], seen[1])


def test_another_seed_is_another_map(folder: Path) -> None:
    bert = BertModel.from_pretrained(folder)
    maps = [SentenceStudent.new(bert, 5, folder, seed=seed) for seed in (0, 0, 1)]
    weights = [student.head.projection.weight for student in maps]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    assert float(np.abs(weights[0]).max()) <= 1 / 6


def test_a_student_that_was_trained_goes_on_with_its_own_map(
    folder: Path, tmp_path: Path, dtype: str
) -> None:
    student = SentenceStudent.new(BertModel.from_pretrained(folder, dtype=dtype), 5, folder, seed=3)
    student.save_pretrained(tmp_path)
    again = SentenceStudent.from_folder(tmp_path, 5, dtype=dtype)
    before = dict(student.named_parameters())
    for name, array in again.named_parameters():
        assert array.dtype == dtype
        assert np.array_equal(array, before[name]), name
    with pytest.warns(UserWarning, match="map to 5 features is replaced by a new one to the te"):
        other = SentenceStudent.from_folder(tmp_path, 7, dtype=dtype)  # of another teacher
    assert other.head.projection.weight.shape == (7, 36)
    with pytest.warns(UserWarning, match="map to 5 features is replaced"):
        equal = SentenceStudent.from_folder(tmp_path, 36, dtype=dtype)
    assert np.array_equal(equal.head.projection.weight, np.eye(36))


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    new(folder).save_pretrained(tmp_path)
    with pytest.raises(OutputError, match="exists"):
        new(folder).save_pretrained(tmp_path)
    new(folder).save_pretrained(tmp_path, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "modules.json").write_text("[]")
    with pytest.raises(OutputError, match=r"modules\.json: already exists"):
        new(folder).save_pretrained(tmp_path / "other")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "1_Pooling").touch()
    with pytest.raises(OutputError, match="1_Pooling: cannot be made"):
        new(folder).save_pretrained(tmp_path / "third", force=True)
    assert [path.name for path in (tmp_path / "third").iterdir()] == ["1_Pooling"]


def test_vectors_that_do_not_fit_are_named(folder: Path) -> None:
    student = new(folder)
    ids = [[2, 5, 3], [2, 6, 3]]
    wrong = np.ones((2, 5))
    wrong[1, 3] = np.inf
    for labels, message in (
        (np.ones((2, 4)), r"labels must have shape \(2, 5\), .*; got \(2, 4\)"),
        (wrong, r"labels\[1, 3\] must be a finite number; got inf"),
        ([["a"] * 5] * 2, "labels"),
    ):
        with pytest.raises(InputError, match=message):
            student.loss_and_gradients({"input_ids": ids, "labels": labels})
    with pytest.raises(InputError, match="batch must have labels"):
        student.loss_and_gradients({"input_ids": ids})
    mask = [[1, 1, 1], [0, 0, 0]]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": np.ones((2, 5))}
    with pytest.raises(InputError, match="text 1 has no token"):
        student.loss_and_gradients(batch)
    with pytest.raises(InputError, match=r"features must be .*; got 0"):
        new(folder, 0)
    tokenizer = BertTokenizer.from_pretrained(folder)
    with pytest.raises(InputError, match=r"4 texts and vectors of shape \(3, 5\)"):
        TaughtTexts(TEXTS, np.ones((3, 5)), tokenizer)
    with pytest.raises(InputError, match="the vector of text 2 is not finite"):
        TaughtTexts(TEXTS[:2], [[1.0, 2.0], [np.nan, 1.0]], tokenizer)


def test_a_run_does_not_go_on_with_other_vectors(folder: Path, tmp_path: Path) -> None:
    tokenizer, rng = BertTokenizer.from_pretrained(folder), np.random.default_rng(0)
    vectors = rng.standard_normal((4, 5)).astype("f4")

    def run(vectors: np.ndarray, *, teacher: str = "", joint: bool = False) -> None:
        data = TaughtTexts(TEXTS, vectors, tokenizer, teacher=teacher)
        settings, place = TrainingArguments(max_steps=1), tmp_path / f"{teacher}{joint}"
        if joint:
            both = JointModel({"s": new(folder)}), JointData({"s": data})
            Trainer(*both, settings, place).train()
        else:
            Trainer(new(folder), data, settings, place).train()

    moved = np.array(vectors)
    moved[2, 3] += 0.01
    noise = 1.0 + 1e-6 * rng.standard_normal(vectors.shape)
    for options in ({}, {"teacher": "one"}, {"joint": True}):
        run(vectors, **options)
        kept = (tmp_path / f"{options.get('teacher', '')}{options.get('joint', False)}").glob("*")
        before = {path: path.read_bytes() for path in kept}
        run(vectors * noise.astype("f4"), **options)  # as of another number of threads
        for other in (moved, vectors[::-1], -vectors, 1.01 * vectors, vectors[:, ::-1]):
            with pytest.raises(TrainingError, match=r"\(the (s\.)?vectors of its data were others"):
                run(np.ascontiguousarray(other), **options)
        assert {path.name for path in before} == {"checkpoint.safetensors", "log.jsonl"}


DENSE, NORMALIZE = "Dense", "Normalize"
SETTINGS = {
    "prompts": {"query": "Query: ", "document": "", "passage": ""},
    "default_prompt_name": "query",
    "similarity_fn_name": "dot",
    "truncate_dim": 4,
}


def sentence_model(
    folder: Path, place: Path, behind: list[str], *, lower_case: bool = False, **pooling: Any
) -> Path:
    """Write a sentence model of these modules behind its pooling, with settings of its own."""
    shutil.copytree(folder, place)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    kinds += [(f"{number}_{kind}", kind) for number, kind in enumerate(behind, 2)]
    width, rng = 36, np.random.default_rng(1)
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": n, "name": f"{n}", "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(kinds)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 36, "pooling_mode_mean_tokens": True}
        | pooling,
        "sentence_bert_config.json": {"max_seq_length": 9, "do_lower_case": lower_case},
        "config_sentence_transformers.json": SETTINGS,
    }
    for path, kind in kinds[2:]:
        if kind != DENSE:
            continue
        files[f"{path}/config.json"] = {
            "in_features": width,
            "out_features": 5,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        (place / path).mkdir()
        weight = rng.standard_normal((5, width)).astype("f4")
        write_tensors(place / path / "model.safetensors", {"linear.weight": weight})
        width = 5
    for name, content in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(json.dumps(content))
    return place


LONG = [*TEXTS, "the cat sat on the mat and a dog ran to the house where the sun is up"]


@pytest.mark.parametrize(
    ("behind", "features"),
    [([], 36), ([NORMALIZE], 36), ([DENSE], 5), ([DENSE, NORMALIZE], 5), ([NORMALIZE] * 2, 36)],
)
@pytest.mark.parametrize("changes", [{}, {"lower_case": True}])
def test_a_student_has_the_vectors_of_the_model_that_it_goes_on_from(
    behind: list[str], features: int, changes: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    place = sentence_model(folder, tmp_path / "model", behind, **changes)
    student, encoder = (
        SentenceStudent.from_folder(place, features),
        SentenceEncoder.from_pretrained(place),
    )
    shutil.copytree(folder, tmp_path / "saved")  # for its tokenizer
    (tmp_path / "saved" / "config_sentence_transformers.json").write_text('{"prompts": {"x": "y"}}')
    student.with_parameters(dict(student.named_parameters())).save_pretrained(
        tmp_path / "saved", force=True
    )
    with pytest.warns(UserWarning, match="max_seq_length = 9"):
        expected = encoder.encode(LONG)
    assert expected.shape == (5, 4)
    for ours in (
        student.encoder(encoder.tokenizer),
        SentenceEncoder.from_pretrained(tmp_path / "saved"),
    ):
        with pytest.warns(UserWarning, match="max_seq_length = 9"):
            np.testing.assert_allclose(ours.encode(LONG), expected, rtol=0, atol=1e-5)
        for name in ("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim"):
            assert getattr(ours, name) == getattr(encoder, name), name
        assert ours.max_seq_length == 9
        np.testing.assert_allclose(
            ours.encode("A dog", prompt=""), encoder.encode("A dog", prompt=""), rtol=0, atol=1e-5
        )


def test_a_text_is_learned_as_it_is_read_later(folder: Path, tmp_path: Path) -> None:
    place = sentence_model(folder, tmp_path / "model", [NORMALIZE], lower_case=True)
    setup = SentenceStudent.from_folder(place, 36).setup
    assert setup.prepared("A \u0130\u03a3") == "query: a i\u0307\u03c3"
    assert SentenceStudent.from_folder(folder, 36).setup.prepared("A") == "A"


def test_a_plain_model_is_its_mean_until_a_map_is_drawn(folder: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(folder)
    ours = SentenceStudent.from_folder(folder, 36).encoder(encoder.tokenizer)
    np.testing.assert_allclose(ours.encode(TEXTS), encoder.encode(TEXTS), rtol=0, atol=1e-5)
    drawn = SentenceStudent.from_folder(folder, 7).encoder(encoder.tokenizer).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), np.ones(4), atol=1e-6)


@pytest.mark.parametrize(
    ("behind", "changes", "message"),
    [
        ([NORMALIZE], {"pooling_mode_cls_token": True}, "pools by cls and mean; a student"),
        (
            [NORMALIZE],
            {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
            "pools by cls; .*the mean of the tokens alone",
        ),
        ([NORMALIZE], {"include_prompt": False}, "leaves the tokens of its prompt query out"),
        ([NORMALIZE, DENSE], {}, "has Normalize, Dense behind its pooling"),
        ([DENSE, DENSE], {}, "has Dense, Dense behind its pooling"),
        (["LayerNorm"], {}, "has LayerNorm behind its pooling"),
        ([DENSE, "LayerNorm"], {}, "has Dense, LayerNorm behind its pooling"),
    ],
)
def test_what_a_student_cannot_keep_is_refused_by_name(
    behind: list[str], changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    place = sentence_model(folder, tmp_path / "model", behind, **changes)
    for features in (5, 36):
        with pytest.raises(InputError, match=f"{place}: {message}"):
            SentenceStudent.from_folder(place, features)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, "Dense that has an activat"),
        ({"use_residual": True, "out_features": 36}, "Dense that adds its input"),
    ],
)
def test_a_dense_layer_that_is_no_linear_map_is_refused(
    changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    place = sentence_model(folder, tmp_path / "model", [DENSE])
    path = place / "2_Dense"
    stated = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(stated))
    write_tensors(
        path / "model.safetensors", {"linear.weight": np.ones((stated["out_features"], 36), "f4")}
    )
    with pytest.raises(InputError, match=message):
        SentenceStudent.from_folder(place, 5)


def test_a_student_learns_no_longer_texts_than_it_reads() -> None:
    demo = SentenceStudent.from_folder(str(demo_folder()), 384)
    setup = replace(demo.setup, max_seq_length=6)
    student = SentenceStudent(demo.bert, demo.head, demo.folder, setup)
    tokenizer, vectors = BertTokenizer.from_pretrained("demo"), np.ones((1, 384))
    with pytest.raises(InputError, match="text of 22 tokens; the student's max_seq_length is 6"):
        TaughtTexts(["cat " * 20], vectors, tokenizer).check(student)
    with pytest.warns(UserWarning, match="were cut"):
        data = TaughtTexts(["cat " * 20], vectors, tokenizer, max_length=6)
    data.check(student)


def test_data_are_the_callers_no_more() -> None:
    tokenizer, vectors = BertTokenizer.from_pretrained("demo"), np.ones((1, 3))
    taught = TaughtTexts(["a"], vectors, tokenizer)
    vectors[:] = 7.0
    assert (taught.batch(np.array([0]), np.random.default_rng(0))["labels"] == 1.0).all()
    labelled = LabelledTexts(["a"], np.array([1]), tokenizer)
    with pytest.raises(ValueError, match="read-only"):
        labelled.labels[0] = 0

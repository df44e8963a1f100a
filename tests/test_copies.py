"""Copies of every public class: the same results, weights by value, and nothing else.

A copy of a used object must be one of an unused one: no scratch memory, no prepared weights, no
view of another's memory. Each class has uses of every kind of call, and is copied after them.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import numpy_bert
from numpy_bert import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertModel,
    BertTokenizer,
    CrossEncoder,
    InputError,
    SentenceEncoder,
    SparseEncoder,
    set_num_threads,
    training,
)
from numpy_bert.kernels.threads import get_num_threads
from numpy_bert.model.embeddings import BertEmbeddings
from numpy_bert.training import (
    AdamW,
    CoSENTLoss,
    CosineSimilarityLoss,
    JointData,
    JointModel,
    LabelledTexts,
    MaskedTexts,
    MultipleNegativesRankingLoss,
    SentenceEncoderTrainer,
    SentencePairs,
    SentenceStudent,
    TaughtTexts,
    Trainer,
    TrainingArguments,
)
from tests.support.checkpoints import TINY, write_checkpoint
from tests.support.heads import TREES, write_head
from tests.support.memory import arrays_in, own_bytes, shares_memory
from tests.support.tokenizer_files import tokenizer_json, write_folder

TEXTS = ["hello world", "the world, the un", "un", "hello the hello the hello"]
PAIRS = [("hello", "the world"), ("un the", "hello")]


class Case(NamedTuple):
    """How an object is made, and what is done with it; `use` returns all that can be compared."""

    make: Callable[[], Any]
    use: Callable[[Any], list[Any]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copies")
    for name in TREES:
        write_head(root / name, name)
    write_head(root / "half head", "BertForMaskedLM", bfloat16=True)
    for name, half in (("BertModel", False), ("half", True)):
        write_checkpoint(root / name, None, TINY | {"vocab_size": 92}, bfloat16=half)
        write_folder(root / name, {"tokenizer.json": tokenizer_json()})
    BertForMaskedLM.from_pretrained(root / "BertForMaskedLM").save_pretrained(root / "sparse")
    plain = root / "plain"
    write_checkpoint(plain, None, TINY | {"vocab_size": 92})
    write_folder(
        plain,
        {
            "tokenizer.json": tokenizer_json(),
            "tokenizer_config.json": {"split_special_tokens": True},
            "sentence_bert_config.json": {"max_seq_length": 11, "do_lower_case": True},
        },
    )
    return root


def use_bert(model: BertModel) -> list[Any]:
    ids, mask = np.arange(5, 26).reshape(3, 7), np.ones((3, 7), np.int64)
    mask[1, 4:] = 0
    rows = model.embeddings(ids)
    found: list[Any] = [rows, model.embeddings(ids, out=np.empty_like(rows))]
    found += [model.embeddings(ids, ids % 2)]
    found += [model.embeddings(ids, rng=np.random.default_rng(0))]
    found += [model.embeddings.steps(ids).output, model.embeddings.word_embeddings(ids)]
    found += [model.embeddings.LayerNorm(rows), model.embeddings.dropout(rows)]
    if model.parameters.encoder is None:
        return found
    for given in (None, mask):
        plain = model(ids, given)
        every = model(ids, given, output_hidden_states=True, output_attentions=True)
        dropped = model(ids, given, rng=np.random.default_rng(0))
        found += [plain.last_hidden_state, plain.pooler_output, dropped.last_hidden_state]
        found += [*(every.hidden_states or ()), *(every.attentions or ())]
    found += [model(inputs_embeds=rows).last_hidden_state, model.steps(ids).encoder.output]
    found += [model.packed(np.arange(5, 17), np.array([3, 4, 5]))]
    return found + [array for _, array in model.trace(ids)]


def use_head(model: Any) -> list[Any]:
    kind = type(model).__name__
    shape = (2, 3, 7) if kind == "BertForMultipleChoice" else (3, 7)
    ids = np.random.default_rng(0).integers(5, 60, shape)
    batch = {"input_ids": ids, **labels(kind, ids)}
    found = [*model(ids).scores, *model(**batch).scores, model(**batch).loss]
    found += [*model(ids, rng=np.random.default_rng(1)).scores]
    for rng in (None, np.random.default_rng(2)):
        gradients = model.loss_and_gradients(batch, rng=rng)
        found += [gradients.loss, *(array for _, array in gradients.named())]
    found += [str(task(model)) for task in TASKS.get(kind, ())]
    if kind in ("BertForMaskedLM", "BertForPreTraining"):
        found += [*model.at_labels(batch).scores]
    return [*found, *use_bert(model.bert)]


def labels(kind: str, ids: Any) -> dict[str, Any]:
    places = np.array([1, 0, 2])
    return {
        "BertForPreTraining": {"labels": ids, "next_sentence_label": [0, 1, 0]},
        "BertForMaskedLM": {"labels": ids},
        "BertForNextSentencePrediction": {"labels": [0, 1, 1]},
        "BertForSequenceClassification": {"labels": places},
        "BertForTokenClassification": {"labels": ids % 5},
        "BertForQuestionAnswering": {"start_positions": places, "end_positions": places + 2},
        "BertForMultipleChoice": {"labels": [0, 2]},
    }[kind]


TASKS: dict[str, list[Callable[[Any], Any]]] = {
    "BertForMaskedLM": [lambda model: model.fill_mask("hello [MASK]")],
    "BertForNextSentencePrediction": [lambda model: model.is_next("hello", "world")],
    "BertForSequenceClassification": [lambda model: model.classify(TEXTS)],
    "BertForTokenClassification": [lambda model: model.tag(TEXTS[:1])],
    "BertForQuestionAnswering": [lambda model: model.answer("un", "hello the world")],
}


def use_encoder(encoder: SentenceEncoder) -> list[Any]:
    vectors = encoder.encode(TEXTS)
    found: list[Any] = [vectors, encoder.encode("hello"), encoder.encode(TEXTS, prompt="the ")]
    found += [encoder.encode(["[SEP] Hello"]), encoder.encode(TEXTS * 40, batch_size=50)]
    found += [encoder.similarity(vectors, vectors), *encoder.search("hello", vectors, k=2)]
    return [*found, encoder.max_seq_length, encoder.pooling, encoder.prompts]


def use_cross_encoder(encoder: CrossEncoder) -> list[Any]:
    found = [encoder.predict(PAIRS), encoder.predict(PAIRS[0], activation_fn="sigmoid")]
    return [*found, encoder.predict(PAIRS, prompt="the "), repr(encoder), encoder.prompts]


def use_tokenizer(tokenizer: BertTokenizer) -> list[Any]:
    encoded = tokenizer(TEXTS, padding=True, return_tensors="np")
    found = [encoded["input_ids"], tokenizer("[SEP]", split_special_tokens=True)["input_ids"]]
    return [*found, tokenizer.tokenize("hello un"), tokenizer.decode(encoded["input_ids"][0])]


def use_data(data: Any) -> list[Any]:
    batch = data.batch(np.array([1, 0]), np.random.default_rng(0))
    flat = [value for part in batch.values() for value in _leaves(part)]
    return [data.fingerprint, data.lengths, len(data), *flat]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    else:
        yield value


def use_student(student: SentenceStudent) -> list[Any]:
    batch = {"input_ids": [[2, 5, 3], [2, 7, 3]], "labels": np.eye(2, 3)}
    found = student.loss_and_gradients(batch)
    vector = student.encoder(BertTokenizer.from_pretrained("demo")).encode("a test")
    return [found.loss, vector, *(array for _, array in found.named())]


def use_joint(joint: JointModel) -> list[Any]:
    batch = {
        "words": {"input_ids": [[2, 4, 3]], "labels": [[-100, 7, -100]]},
        "order": {"input_ids": [[2, 5, 3, 7, 3]], "labels": [1]},
    }
    found = joint.loss_and_gradients(batch)
    return [found.loss, *(array for _, array in found.named())]


def use_optimizer(optimizer: AdamW) -> list[Any]:
    """Take a step of a copy, since a step changes the optimizer itself."""
    own = copy.deepcopy(optimizer)
    own.step({name: np.ones_like(array) for name, array in own.parameters.items()})
    return [own.steps, *own.parameters.values(), *own.exp_avg.values()]


def use_trainer(trainer: Trainer[Any]) -> list[Any]:
    """Train; the folder keeps the checkpoint, so that a second run only reads it."""
    return [array for _, array in trainer.train().named_parameters()]


def use_loss(loss: Any) -> list[Any]:
    found = loss.gradients([np.eye(3), np.eye(3)[::-1]], np.array([0.0, 1.0, 0.5]))
    return [found.loss, *found.columns, loss.identity, loss.model.encode("a test")]


def use_sparse_encoder(encoder: SparseEncoder) -> list[Any]:
    found = encoder.encode(TEXTS)
    scores = encoder.similarity(found, found)
    words = str(encoder.decode(found, top_k=3))
    return [found.data, found.indices, found.indptr, scores, words]


def use_encoder_trainer(trainer: SentenceEncoderTrainer) -> list[Any]:
    """Train; the folder keeps the model, so that a second run only reads it."""
    return [trainer.train().encode("a test"), trainer.args]


@cache
def demo_encoder() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained("demo")


@cache
def tokenizer() -> BertTokenizer:
    return BertTokenizer.from_pretrained("demo")


def cases(root: Path) -> dict[str, Case]:
    """Return a case for every public class, and for models of other kinds of weights."""
    demo = tokenizer()
    heads = {
        name: Case(lambda name=name: _load(root, name), use_head)  # type: ignore[misc]
        for name in TREES
    }
    models: dict[str, Callable[[], Any]] = {
        "BertModel": lambda: BertModel.from_pretrained(root / "BertModel"),
        "float64": lambda: BertModel.from_pretrained(root / "BertModel", dtype="float64"),
        "halves": lambda: BertModel.from_pretrained(root / "half"),
        "a part": lambda: BertModel.from_pretrained(root / "BertModel", only="embeddings"),
        "copied weights": lambda: BertModel.from_pretrained(root / "BertModel", mmap=False),
        "demo": lambda: BertModel.from_pretrained("demo"),
    }
    data: dict[str, Callable[[], Any]] = {
        "MaskedTexts": lambda: MaskedTexts(TEXTS, demo),
        "LabelledTexts": lambda: LabelledTexts(TEXTS, [0, 1, 0, 1], demo),
        "TaughtTexts": lambda: TaughtTexts(TEXTS, np.eye(4), demo),
        "SentencePairs": lambda: SentencePairs([TEXTS, TEXTS], demo),
        "JointData": lambda: JointData({"words": MaskedTexts(TEXTS, demo)}),
    }
    return {
        **heads,
        **{name: Case(make, use_bert) for name, make in models.items()},
        **{name: Case(make, use_data) for name, make in data.items()},
        "BertForMaskedLM of halves": Case(
            lambda: BertForMaskedLM.from_pretrained(root / "half head"), use_head
        ),
        "BertEmbeddings": Case(
            lambda: BertModel.from_pretrained("demo").embeddings,
            lambda part: [part([[2, 5, 3]]), part.steps([[2, 5, 3]]).sum],
        ),
        "SentenceEncoder": Case(lambda: SentenceEncoder.from_pretrained("demo"), use_encoder),
        "SentenceEncoder of a BERT": Case(
            lambda: SentenceEncoder.from_pretrained(root / "plain"), use_encoder
        ),
        "SparseEncoder": Case(lambda: SparseEncoder(root / "sparse"), use_sparse_encoder),
        "CrossEncoder": Case(
            lambda: CrossEncoder(root / "BertForSequenceClassification"), use_cross_encoder
        ),
        "BertTokenizer": Case(lambda: BertTokenizer.from_pretrained("demo"), use_tokenizer),
        "BertConfig": Case(
            lambda: BertModel.from_pretrained("demo").config, lambda config: [config]
        ),
        "SentenceStudent": Case(
            lambda: SentenceStudent.new(BertModel.from_pretrained("demo"), 3, Path("demo")),
            use_student,
        ),
        "JointModel": Case(
            lambda: JointModel(
                {
                    "words": BertForMaskedLM.from_pretrained("demo"),
                    "order": BertForNextSentencePrediction.from_pretrained("demo"),
                }
            ),
            use_joint,
        ),
        "AdamW": Case(lambda: AdamW({"dense.weight": np.ones((3, 5))}), use_optimizer),
        "Trainer": Case(
            lambda: Trainer(
                _load(root, "BertForMaskedLM"),
                MaskedTexts(TEXTS, BertTokenizer.from_pretrained(root / "BertForMaskedLM")),
                TrainingArguments(max_steps=2),
                root / "run",
            ),
            use_trainer,
        ),
        **{
            loss.__name__: Case(lambda loss=loss: loss(demo_encoder()), use_loss)  # type: ignore[misc]
            for loss in (CoSENTLoss, CosineSimilarityLoss, MultipleNegativesRankingLoss)
        },
        "SentenceEncoderTrainer": Case(
            lambda: SentenceEncoderTrainer(
                model=demo_encoder(),
                args=TrainingArguments(root / "pairs", max_steps=2),
                train_dataset={"anchor": TEXTS, "positive": TEXTS[::-1]},
                eval_dataset={"anchor": TEXTS, "positive": TEXTS[::-1]},
                loss=MultipleNegativesRankingLoss,
            ),
            use_encoder_trainer,
        ),
        "TrainingArguments": Case(lambda: TrainingArguments(seed=7), lambda found: [found]),
    }


def _load(root: Path, name: str) -> Any:
    return getattr(numpy_bert, name).from_pretrained(root / name)


NAMES = [
    *TREES,
    *("BertModel", "float64", "halves", "a part", "copied weights", "demo"),
    *("MaskedTexts", "LabelledTexts", "TaughtTexts", "SentencePairs", "JointData"),
    *("BertForMaskedLM of halves", "BertEmbeddings", "SentenceEncoder"),
    *("SentenceEncoder of a BERT", "SparseEncoder", "CrossEncoder", "BertTokenizer"),
    "BertConfig",
    *("SentenceStudent", "JointModel", "AdamW", "Trainer", "TrainingArguments"),
    *("SentenceEncoderTrainer", "CoSENTLoss", "CosineSimilarityLoss"),
    "MultipleNegativesRankingLoss",
]
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda item: pickle.loads(pickle.dumps(item)),
    "pickle 5": lambda item: pickle.loads(pickle.dumps(item, 5)),
}


def test_every_public_class_has_a_case(root: Path) -> None:
    public = {
        name
        for module in (numpy_bert, training)
        for name in module.__all__
        if isinstance(getattr(module, name), type)
        and not issubclass(getattr(module, name), Exception)
    }
    assert sorted(public - set(NAMES)) == []
    assert sorted(cases(root)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_gives_the_same_bits_before_and_after_use(name: str, root: Path) -> None:
    case = cases(root)[name]
    unused = case.make()
    early = {way: WAYS[way](unused) for way in ("copy", "pickle")}
    expected = case.use(unused)
    for way, found in early.items():
        _assert_same(case.use(found), expected, f"{way} before use")
    for way, make in WAYS.items():
        _assert_same(case.use(make(unused)), expected, f"{way} after use")
    _assert_same(case.use(unused), expected, "the original, after all")


# A SentenceEncoderTrainer has the model that it has trained, too.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "SentenceEncoderTrainer"])
def test_a_copy_carries_weights_once_and_nothing_else(name: str, root: Path) -> None:
    case = cases(root)[name]
    fresh, used = case.make(), case.make()
    size = len(pickle.dumps(fresh))
    case.use(used)
    assert abs(len(pickle.dumps(used)) - size) < 200 + size // 1000
    for way in ("deepcopy", "pickle"):
        found, early = WAYS[way](used), WAYS[way](fresh)
        assert not shares_memory(found, used), way
        assert own_bytes(found) == own_bytes(early), way
        writeable = [array.flags.writeable for array in arrays_in(found)]
        assert writeable == [array.flags.writeable for array in arrays_in(early)], way


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "SentenceEncoder"])
def test_a_copy_of_weights_that_may_not_be_written_to_is_none_either(name: str, root: Path) -> None:
    model = pickle.loads(pickle.dumps(cases(root)[name].make()))
    parameters = {"BertForMaskedLM": "bert.parameters", "SentenceEncoder": "model.parameters"}
    for part in parameters.get(name, "parameters").split("."):
        model = getattr(model, part)
    with pytest.raises(ValueError, match="read-only"):
        model.embeddings.LayerNorm.weight[0] = 1.0


def test_weights_that_are_trained_stay_writeable(root: Path) -> None:
    model = _load(root, "BertForMaskedLM")
    arrays = {name: array.copy() for name, array in model.named_parameters()}
    found = pickle.loads(pickle.dumps(model.with_parameters(arrays)))
    found.head.cls.predictions.bias[0] = 7.0


def test_threads_leave_nothing_behind(root: Path) -> None:
    before, model = get_num_threads(), BertModel.from_pretrained("demo")
    size, ids = len(pickle.dumps(model)), np.full((64, 128), 7)
    set_num_threads(2)
    try:
        expected = model(ids).last_hidden_state
        data = pickle.dumps(model)
        assert len(data) == size
        np.testing.assert_array_equal(pickle.loads(data)(ids).last_hidden_state, expected)
    finally:
        set_num_threads(before)


def test_a_pickled_model_needs_no_folder(root: Path, tmp_path: Path) -> None:
    write_head(tmp_path / "gone", "BertForMaskedLM")
    model = BertForMaskedLM.from_pretrained(tmp_path / "gone", mmap=False)
    expected, data = str(model.fill_mask("hello [MASK]")), pickle.dumps(model)
    unused = pickle.dumps(BertForMaskedLM.from_pretrained(tmp_path / "gone", mmap=False))
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    for given in (data, unused):
        assert str(pickle.loads(given).fill_mask("hello [MASK]")) == expected


def test_a_tokenizer_that_was_set_is_copied(root: Path) -> None:
    model = _load(root, "BertForMaskedLM")
    model.tokenizer = tokenizer()
    assert len(pickle.loads(pickle.dumps(model)).tokenizer) == len(tokenizer())


def test_a_tokenizer_stays_with_the_model_through_training(root: Path) -> None:
    model = _load(root, "BertForMaskedLM")
    model.tokenizer = tokenizer()
    assert model.with_parameters(dict(model.named_parameters())).tokenizer is tokenizer()


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_a_checkpoint_without_a_tokenizer_can_be_copied(name: str, root: Path) -> None:
    folder = write_head(root / f"no tokenizer {name}", name)
    (folder / "tokenizer.json").unlink()
    model = getattr(numpy_bert, name).from_pretrained(folder)
    _assert_same(
        [*copy.deepcopy(model)([[2, 5, 3]]).scores], [*model([[2, 5, 3]]).scores], "a copy"
    )


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        *(("BertModel", part) for part in ("config", "parameters", "loading_info", "embeddings")),
        *(
            ("BertForMaskedLM", part)
            for part in ("bert", "head", "config", "loading_info", "folder", "decoder", "dtype")
        ),
        *(
            ("BertEmbeddings", part)
            for part in ("parameters", "word_embeddings", "LayerNorm", "dropout", "dropout.p")
        ),
        ("BertEmbeddings", "LayerNorm.eps"),
        ("BertEmbeddings", "LayerNorm.weight"),
        ("BertEmbeddings", "word_embeddings.weight"),
        ("BertConfig", "hidden_act"),
        *(("SentenceStudent", part) for part in ("bert", "head", "folder", "config", "setup")),
        *(("JointModel", part) for part in ("models", "weights", "folder", "dtype")),
    ],
)
def test_what_other_parts_were_made_from_cannot_be_set(
    name: str, attribute: str, root: Path
) -> None:
    found = cases(root)[name].make()
    *path, last = attribute.split(".")
    for part in path:
        found = getattr(found, part)
    with pytest.raises(AttributeError):
        setattr(found, last, getattr(found, last))
    with pytest.raises(AttributeError):
        delattr(found, last)


def test_a_tokenizer_that_is_set_is_one(root: Path) -> None:
    model = _load(root, "BertForMaskedLM")
    with pytest.raises(InputError, match="tokenizer: is str; a BertTokenizer was expected"):
        model.tokenizer = "bert-base-uncased"


@pytest.mark.parametrize("name", [name for name in numpy_bert.__all__ if name.endswith("Error")])
def test_an_error_survives_the_way_between_processes(name: str) -> None:
    failure = getattr(numpy_bert, name)("where: what.")
    found = pickle.loads(pickle.dumps(failure))
    assert type(found) is type(failure)
    assert str(found) == "where: what."


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12's
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_goes_on_with_a_model_that_was_used(root: Path) -> None:
    encoder = SentenceEncoder.from_pretrained("demo")
    expected = encoder.encode(TEXTS * 50)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # no test framework here: exit at once, whatever happens
        status = 1
        try:
            found = encoder.encode(TEXTS * 50)
            os.write(writer, b"same" if np.array_equal(found, expected) else b"other")
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"same"
    assert os.waitpid(child, 0)[1] == 0


def test_a_config_is_equal_to_its_copy() -> None:
    config = BertConfig.from_dict(TINY)
    assert copy.deepcopy(config) == config


def test_an_embedding_can_be_copied_alone() -> None:
    part = BertModel.from_pretrained("demo").embeddings
    expected = part(np.full((40, 128), 9))
    found = copy.deepcopy(part)
    assert isinstance(found, BertEmbeddings)
    np.testing.assert_array_equal(found(np.full((40, 128), 9)), expected)


def _assert_same(found: list[Any], expected: list[Any], what: str) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=what)

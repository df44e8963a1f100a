"""numpy_bert.encoding.cross_encoder: results, arguments, files, and what is saved."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForSequenceClassification,
    CheckpointError,
    ConfigError,
    CrossEncoder,
    HubError,
    InputError,
    OutputError,
    SentenceEncoder,
    set_num_threads,
)
from numpy_bert.tasks.activations import TORCH_ACTIVATIONS
from tests.support.heads import CONFIG, head_tensors, write_head
from tests.support.sentence_models import NEW, write

pytestmark = pytest.mark.usefixtures("threads")

PAIRS = [
    ("hello", "world"),
    ("", ""),
    ("unaffable", "hello unaffable world"),
    ("hello", "world"),
    ("a b", ""),
]
LONG = "hello world " * 20
SETTINGS: dict[str, Any] = {"model_type": "CrossEncoder", "prompts": {"q": "hello "}}
TRANSFORMER: dict[str, Any] = {
    "transformer_task": "sequence-classification",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "scores",
}


def checkpoint(folder: Path, labels: int = 1, **members: Any) -> Path:
    """Write a tiny model with so many labels."""
    config = CONFIG | {"num_labels": labels} | members
    name = "BertForSequenceClassification"
    tensors = {
        key: (array * (6 if key == "classifier.weight" else 0.5)).astype("f4")
        + np.float32(key.endswith("LayerNorm.weight"))
        for key, array in head_tensors(name, config).items()
    }
    return write_head(folder, name, tensors, config)


def saved(folder: Path, *, settings: Any = SETTINGS, transformer: Any = TRANSFORMER) -> Path:
    """Add what sentence-transformers 6 saves."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": NEW["Transformer"]}]
    return write(
        folder,
        {
            "modules.json": modules,
            "config_sentence_transformers.json": settings,
            "sentence_bert_config.json": transformer,
        },
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("cross")
    return {labels: checkpoint(root / str(labels), labels) for labels in (1, 3)}


@pytest.fixture
def one(folders: dict[int, Path]) -> CrossEncoder:
    return CrossEncoder(folders[1])


@pytest.fixture
def three(folders: dict[int, Path]) -> CrossEncoder:
    return CrossEncoder(folders[3])


def logits(folder: Path, pairs: list[tuple[str, str]], dtype: str = "float64") -> Any:
    model = BertForSequenceClassification.from_pretrained(folder, dtype=dtype)
    rows = [model(**model.tokenizer(*pair, return_tensors="np")).logits[0] for pair in pairs]
    return np.array(rows)


def test_the_progress_bar_counts_pairs(
    one: CrossEncoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    one.predict(PAIRS, show_progress_bar=True)
    said = capsys.readouterr().err
    assert "scoring: 100%" in said
    assert "4/4 pairs]" in said


def test_shapes_and_dtypes(folders: dict[int, Path], dtype: str) -> None:
    for labels, shape in ((1, ()), (3, (3,))):
        encoder = CrossEncoder(folders[labels], dtype=dtype)
        for inputs, rows in (
            (PAIRS, (5,)),
            (tuple(PAIRS), (5,)),
            ([list(pair) for pair in PAIRS], (5,)),
            (np.array(PAIRS), (5,)),
            (np.array(PAIRS, object), (5,)),
            (PAIRS[:1], (1,)),
            (PAIRS[0], ()),
            (list(PAIRS[0]), ()),
            (np.array(PAIRS[0]), ()),
        ):
            scores = encoder.predict(inputs)
            assert scores.shape == (*rows, *shape)
            assert scores.dtype == dtype
        empties: list[Any] = [[], (), np.array([]), np.empty((0, 2), object)]
        for empty in empties:
            assert encoder.predict(empty).shape == (0,)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_scores_are_those_of_the_models_logits(
    folders: dict[int, Path], threads: int, batch_size: int | None
) -> None:
    set_num_threads(threads)
    for labels in (1, 3):
        encoder = CrossEncoder(folders[labels])
        expected = logits(folders[labels], PAIRS)
        found = encoder.predict(PAIRS * 9, batch_size=batch_size, activation_fn="identity")
        assert np.abs(found.reshape(9, 5, labels) - expected).max() < 2e-6
        assert np.array_equal(found[0], found[3])
        exact = CrossEncoder(folders[labels], dtype="float64")
        found = exact.predict(PAIRS, activation_fn="identity")
        assert np.abs(found.reshape(5, labels) - expected).max() < 1e-12


def test_by_default_one_label_has_the_sigmoid_and_several_nothing(
    one: CrossEncoder, three: CrossEncoder
) -> None:
    assert (one.activation_fn, three.activation_fn) == ("Sigmoid", "Identity")
    raw = one.predict(PAIRS, activation_fn="Identity")
    assert np.allclose(one.predict(PAIRS), 1 / (1 + np.exp(-raw)), atol=1e-7)
    assert (raw < 0).any() or (raw > 1).any()
    rows = three.predict(PAIRS, apply_softmax=True)
    raw = three.predict(PAIRS)
    expected = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    assert np.allclose(rows, expected, atol=1e-6)
    assert np.array_equal(one.predict(PAIRS, apply_softmax=True), one.predict(PAIRS))


def test_an_activation_may_be_a_function(one: CrossEncoder, three: CrossEncoder) -> None:
    seen = []

    def doubled(x: Any) -> Any:
        seen.append(x.shape)
        return 2 * x

    raw = one.predict(PAIRS, activation_fn="torch.nn.Identity")
    assert np.array_equal(one.predict(PAIRS, activation_fn=doubled), 2 * raw)
    assert seen == [(5, 1)]
    best = three.predict(PAIRS, activation_fn=lambda x: x.max(1))
    assert np.array_equal(best, three.predict(PAIRS).max(1))
    one.activation_fn = doubled
    assert np.array_equal(one.predict(PAIRS), 2 * raw)
    assert "activation_fn=doubled" in repr(one)
    with pytest.raises(InputError, match=r"return scores for each of 5 pairs, .* got shape \(\)"):
        one.predict(PAIRS, activation_fn=lambda x: x.sum())


def test_rank(one: CrossEncoder) -> None:
    documents = ["world", "hello", "unaffable", "world", ""]
    scores = one.predict([("hello", text) for text in documents])
    found = one.rank("hello", documents, return_documents=True)
    order = sorted(range(5), key=lambda i: -scores[i])
    assert [best["corpus_id"] for best in found] == order
    assert [list(best) for best in found] == [["corpus_id", "score", "text"]] * 5
    for best in found:
        assert best["text"] == documents[best["corpus_id"]]
        assert type(best["score"]) is float
        assert best["score"] == scores[best["corpus_id"]]
    assert [best["corpus_id"] for best in found if best["text"] == "world"] == [0, 3]
    top = one.rank("hello", tuple(documents), top_k=2)
    assert top == [{k: best[k] for k in ("corpus_id", "score")} for best in found[:2]]
    assert one.rank("hello", []) == []
    doubled = one.rank("hello", documents, activation_fn=lambda x: -x)
    assert [best["corpus_id"] for best in doubled if documents[best["corpus_id"]] != "world"] == [
        i for i in reversed(order) if documents[i] != "world"
    ]


def test_pairs_are_cut_and_it_says_so(one: CrossEncoder, folders: dict[int, Path]) -> None:
    pairs = [("hello", "world"), ("hello", LONG), (LONG, LONG)]
    words = (
        r"^predict: 2 of 3 pairs have more tokens than max_seq_length = 19 and were cut; the first "
        r"is inputs\[1\], of 44\.$"
    )
    with pytest.warns(UserWarning, match=words) as caught:
        found = one.predict(pairs)
    [warning] = caught
    assert warning.filename == __file__
    tokenizer = one.tokenizer
    ids = tokenizer([pairs[2]], truncation=True, max_length=19, return_tensors="np")
    expected = one.model(**ids).logits[0]
    assert np.abs(found[2] - 1 / (1 + np.exp(-expected))).max() < 1e-6
    with pytest.warns(UserWarning, match=r"^rank: .* first is documents\[0\]") as caught:
        one.rank("hello", [LONG])
    assert caught[0].filename == __file__
    short = CrossEncoder(folders[1], max_length=5)
    with pytest.warns(
        UserWarning, match=r"^predict: the pair has 6 tokens and was cut to max_s.* 5\.$"
    ):
        short.predict(("hello world", "world"))
    one.max_length = 5
    assert one.max_seq_length == 5


def test_prompts_stand_before_the_first_text(tmp_path: Path) -> None:
    folder = saved(checkpoint(tmp_path))
    encoder = CrossEncoder(folder, prompts={"p": "world "})
    assert dict(encoder.prompts) == {"q": "hello ", "p": "world "}
    plain, asked = encoder.predict([("a", "b"), ("hello a", "b")])
    assert plain != asked
    assert np.isclose(encoder.predict(("a", "b"), prompt_name="q"), asked, atol=1e-6)
    assert np.isclose(encoder.predict(("a", "b"), prompt="hello "), asked, atol=1e-6)
    assert np.isclose(encoder.rank("a", ["b"], prompt_name="q")[0]["score"], asked, atol=1e-6)
    always = CrossEncoder(folder, default_prompt_name="q")
    assert np.isclose(always.predict(("a", "b")), asked, atol=1e-6)
    assert np.isclose(always.predict(("a", "b"), prompt=""), plain, atol=1e-6)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"prompt": "a", "prompt_name": "q"}, "prompt and prompt_name are both given"),
        ({"prompt_name": "z"}, r"prompt_name must be .* got 'z'\. The model has: 'q', 'p'\."),
        ({"prompt": 3}, "prompt must be a str; got int"),
    ]
    for arguments, words in wrong:
        with pytest.raises(InputError, match=words):
            encoder.predict(("a", "b"), **arguments)
    with pytest.raises(InputError, match="default_prompt_name must be the name of a prompt"):
        CrossEncoder(folder, default_prompt_name="z")


SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


@pytest.mark.parametrize(
    ("members", "settings", "expected"),
    [
        ({}, None, "Sigmoid"),
        ({"sbert_ce_default_activation_function": IDENTITY}, None, "Identity"),
        ({"sbert_ce_default_activation_function": None}, None, "Sigmoid"),
        ({"sbert_ce_default_activation_function": 3}, None, "Sigmoid"),
        (
            {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}},
            None,
            "Identity",
        ),
        (
            {
                "sentence_transformers": {"activation_fn": "torch.nn.Tanh"},
                "sbert_ce_default_activation_function": IDENTITY,
            },
            None,
            "Tanh",
        ),
        ({"sentence_transformers": {"version": "4.1.0"}}, None, "Sigmoid"),
        ({}, {"activation_fn": IDENTITY}, "Identity"),
        (
            {"sbert_ce_default_activation_function": SIGMOID},
            {"activation_fn": IDENTITY},
            "Identity",
        ),
        ({"sbert_ce_default_activation_function": IDENTITY}, {}, "Identity"),
        ({"sbert_ce_default_activation_function": IDENTITY}, {"activation_fn": "x.Y"}, "Identity"),
        (
            {"sbert_ce_default_activation_function": IDENTITY},
            {"activation_fn": SIGMOID, "model_type": "SentenceTransformer"},
            "Identity",
        ),
    ],
)
def test_the_files_name_the_activation(
    tmp_path: Path, members: dict[str, Any], settings: dict[str, Any] | None, expected: str
) -> None:
    folder = checkpoint(tmp_path, **members)
    if settings is not None:
        saved(folder, settings=SETTINGS | settings)
    assert CrossEncoder(folder).activation_fn == expected
    assert CrossEncoder(folder, activation_fn="tanh").activation_fn == "Tanh"


def test_an_activation_of_their_own_code_is_not_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3, sbert_ce_default_activation_function="os.abort")
    with pytest.warns(UserWarning, match="name os.abort as the activation") as caught:
        encoder = CrossEncoder(folder)
    assert caught[0].filename == __file__
    assert encoder.activation_fn == "Identity"
    with pytest.warns(UserWarning, match="name os.abort as the activation") as caught:
        encoder.model.classify("hello")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CrossEncoder(folder, activation_fn="identity")
        encoder.model.classify("hello", function_to_apply="none")


def test_a_class_of_torchs_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    name = "torch.nn.modules.activation.Maxout"
    folder = checkpoint(tmp_path, sbert_ce_default_activation_function=name)
    words = rf"name {name} as the activation .* not supported; .* \(activation_fn of CrossEncoder"
    with pytest.raises(ConfigError, match=words):
        CrossEncoder(folder)
    encoder = CrossEncoder(folder, activation_fn="Identity")
    with pytest.raises(ConfigError, match=words):
        encoder.model.classify("hello")
    assert encoder.model.classify("hello", function_to_apply="none")


def test_a_stated_length_that_leaves_no_room_for_a_token(tmp_path: Path) -> None:
    folder = saved(checkpoint(tmp_path), transformer=TRANSFORMER | {"max_seq_length": 2})
    with pytest.raises(
        ConfigError, match=r"max_length must be a whole number from \d+ to 19; got 2"
    ) as e:
        CrossEncoder(folder)
    assert str(e.value).startswith(f"{folder}: ")
    assert CrossEncoder(folder, max_length=9).max_seq_length == 9


def test_classify_follows_the_files(tmp_path: Path) -> None:
    members = {"sentence_transformers": {"activation_fn": IDENTITY}}
    for labels in (1, 3):
        folder = checkpoint(tmp_path / str(labels), labels, **members)
        model = BertForSequenceClassification.from_pretrained(folder, dtype="float64")
        expected = np.sort(logits(folder, PAIRS[2:3])[0])[::-1]
        found = [best.score for best in model.classify(*PAIRS[2])]
        assert np.abs(found - expected).max() < 1e-12
        asked = [best.score for best in model.classify(*PAIRS[2], function_to_apply="sigmoid")]
        assert np.abs(np.array(asked) - 1 / (1 + np.exp(-expected))).max() < 1e-12
        copied = pickle.loads(pickle.dumps(model))
        assert [best.score for best in copied.classify(*PAIRS[2])] == found


def test_files_of_version_6(tmp_path: Path) -> None:
    limits = {"max_seq_length": 7, "do_lower_case": True}
    folder = saved(checkpoint(tmp_path), transformer=TRANSFORMER | limits)
    encoder = CrossEncoder(folder)
    assert (encoder.max_seq_length, encoder.num_labels) == (7, 1)
    assert encoder.predict(("HELLO", "b")) == encoder.predict(("hello", "b"))
    encoder.save_pretrained(tmp_path / "again")
    stated = json.loads((tmp_path / "again/sentence_bert_config.json").read_text("utf-8"))
    assert stated == TRANSFORMER | {"do_lower_case": True}
    other = {"model_type": "SentenceTransformer"}
    saved(folder, settings=other, transformer=limits)  # whose other files say nothing of ours
    assert CrossEncoder(folder).max_seq_length == 19
    for name, content, words in (
        ("modules.json", [], "got none"),
        ("modules.json", [{"path": "", "type": "mine.Transformer"}], "got mine.Transformer"),
        ("modules.json", [{"path": "0_T", "type": NEW["Transformer"]}], "the model's own folder"),
        (
            "modules.json",
            [{"path": "", "type": NEW["Transformer"]}, {"path": "1", "type": NEW["Dense"]}],
            "Transformer of sentence_transformers' alone",
        ),
        ("sentence_bert_config.json", {"transformer_task": "text-generation"}, "transformer_task"),
        ("sentence_bert_config.json", {"module_output_name": "token_embeddings"}, "'scores'"),
        (
            "sentence_bert_config.json",
            {"modality_config": {"text": {"method_output_name": "last_hidden_state"}}},
            "text by its logits",
        ),
    ):
        broken = write(saved(folder), {name: content})
        with pytest.raises(ConfigError, match=words):
            CrossEncoder(broken)
    with pytest.raises(ConfigError, match=r"is a cross-encoder, .* use CrossEncoder"):
        SentenceEncoder.from_pretrained(saved(folder))


def test_it_is_saved_as_it_is_now(tmp_path: Path, folders: dict[int, Path]) -> None:
    pairs = PAIRS[:2]
    for labels in (1, 3):
        encoder = CrossEncoder(
            folders[labels], activation_fn="tanh", max_length=8, prompts={"q": "hello "}
        )
        folder = tmp_path / str(labels)
        encoder.save_pretrained(folder)
        again = CrossEncoder(folder)
        assert np.array_equal(again.predict(pairs), encoder.predict(pairs))
        assert (again.activation_fn, again.max_seq_length) == ("Tanh", 8)
        assert (again.prompts, again.notes) == (encoder.prompts, ())
        config = json.loads((folder / "config.json").read_text("utf-8"))
        assert config["sbert_ce_default_activation_function"] == "torch.nn.modules.activation.Tanh"
        with pytest.raises(OutputError, match="already exists"):
            again.save_pretrained(folder)
        again.activation_fn = "Identity"
        again.save_pretrained(folder, force=True)
        assert CrossEncoder(folder).activation_fn == "Identity"
    model = BertForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text("utf-8"))
    assert config["sbert_ce_default_activation_function"] == IDENTITY
    plain = BertForSequenceClassification.from_pretrained(folders[1])
    plain.save_pretrained(tmp_path / "plain")
    assert "sbert" not in (tmp_path / "plain/config.json").read_text("utf-8")
    encoder.activation_fn = np.tanh
    with pytest.raises(InputError, match="is a function, which no file can name"):
        encoder.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_copies_are_independent(one: CrossEncoder) -> None:
    expected = one.predict(PAIRS)
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert np.array_equal(other.predict(PAIRS), expected)
        other.max_seq_length = 5
        other.activation_fn = "identity"
    assert (one.max_seq_length, one.activation_fn) == (19, "Sigmoid")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("a", "inputs must be a pair of texts or a list of pairs; got one text"),
        (["a"], "inputs must be a pair of texts or a list of pairs; got 1 texts"),
        (["a", "b", "c"], "got 3 texts"),
        ([["a"]], r"inputs\[0\] must be a pair; got 1 texts"),
        ([("a", "b"), "c"], r"inputs\[1\] must be a pair; got no pair"),
        (["a", None], r"inputs\[1\] must be a str; got NoneType"),
        ([("a", "b"), ("a", 3)], r"inputs\[1\]\[1\] must be a str; got int"),
        ({"a": "b"}, "got dict"),
        pytest.param(iter([("a", "b")]), "got list_iterator. Put the texts into a list", id="iter"),
        (np.zeros((2, 2)), r"inputs\[0\]\[0\] must be a str; got float"),
        (np.zeros((2, 2, 2)), "of shape"),
    ],
    ids=str,
)
def test_inputs_that_are_no_pairs(one: CrossEncoder, inputs: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        one.predict(inputs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1; got 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"device": "cuda"}, "predict: device must be None or 'cpu'; got 'cuda'"),
        ({"pool": {}}, "pool must be None; got {}. .* set_num_threads"),
        ({"chunk_size": 3}, "chunk_size must be None; got 3"),
        (
            {"convert_to_tensor": True},
            "convert_to_tensor must be False; got True. .* torch.from_numpy",
        ),
        ({"convert_to_numpy": False}, "convert_to_numpy must be True; got False"),
        ({"activation_fn": "relux"}, "activation_fn must be a class of torch.nn's .* got 'relux'"),
        ({"activation_fn": "mine.Sigmoid"}, "got 'mine.Sigmoid'"),
        ({"activation_fn": 3}, "activation_fn must be .* got 3"),
    ],
    ids=str,
)
def test_arguments_of_predict(one: CrossEncoder, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        one.predict(PAIRS, **arguments)


def test_arguments_of_rank(one: CrossEncoder, three: CrossEncoder) -> None:
    with pytest.raises(InputError, match="rank: the model has 3 labels, none of which"):
        three.rank("a", ["b"])
    with pytest.raises(InputError, match="documents must be a list of texts; got one text"):
        one.rank("a", "b")
    with pytest.raises(InputError, match="query must be a str; got list"):
        one.rank(["a"], ["b"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="top_k must be a whole number from 1; got 0"):
        one.rank("a", ["b"], top_k=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 20}, "max_length must be a whole number from 4 to 19; got 20"),
        ({"max_length": 3}, "from 4 to 19; got 3"),
        ({"max_length": True}, "got True"),
        ({"device": "mps"}, "CrossEncoder: device must be None or 'cpu'; got 'mps'"),
        ({"trust_remote_code": True}, "trust_remote_code must be .* never run"),
        ({"backend": "onnx"}, "backend must be .* got 'onnx'"),
        (
            {"model_kwargs": {"dtype": "float16"}},
            "model_kwargs must be .* Give dtype",
        ),
        ({"model_kwargs": 3}, "model_kwargs must be .* got 3"),
        (
            {"tokenizer_kwargs": {"model_max_length": 9}},
            "Set encoder.max_seq_length",
        ),
        ({"processor_kwargs": {"use_fast": False}}, "processor_kwargs"),
        ({"config_kwargs": {"num_labels": 3}}, "config_kwargs must be"),
        ({"activation_fn": ""}, "activation_fn"),
        ({"prompts": {"q": 3}}, r"prompts\['q'\] must be a str"),
    ],
    ids=str,
)
def test_arguments_of_the_class(
    folders: dict[int, Path], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        CrossEncoder(folders[1], **arguments)


def test_a_name_without_an_owner_is_a_cross_encoders(
    folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, repository = "c" * 40, tmp_path / "models--cross-encoder--tiny"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(folders[1], target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = CrossEncoder("tiny", cache_folder=tmp_path)
    assert encoder.predict(PAIRS[0]) == CrossEncoder(folders[1]).predict(PAIRS[0])
    with pytest.raises(HubError, match="cross-encoder/none"):
        CrossEncoder("none", cache_folder=tmp_path, local_files_only=True)


def test_what_happens_anyway_may_be_asked_for(folders: dict[int, Path]) -> None:
    encoder = CrossEncoder(
        folders[1],
        num_labels=1,
        max_length=19,
        device="cpu",
        trust_remote_code=False,
        backend="torch",
        model_kwargs={"torch_dtype": "float32", "attn_implementation": "sdpa"},
        tokenizer_kwargs={"use_fast": True},
        config_kwargs={},
    )
    options: dict[str, Any] = {"device": "cpu", "pool": None, "chunk_size": None}
    scores = encoder.predict(PAIRS, convert_to_numpy=True, convert_to_tensor=False, **options)
    assert np.isclose(encoder.rank("hello", ["world"], **options)[0]["score"], scores[0], atol=1e-6)


def test_a_name_that_nothing_reads_cannot_be_set(one: CrossEncoder) -> None:
    for name in ("model", "tokenizer", "max_len", "prompts"):
        with pytest.raises(AttributeError):
            setattr(one, name, 3)
    text = "CrossEncoder(1 label, activation_fn=Sigmoid, max_seq_length=19, float32)"
    assert repr(one) == text


def test_what_is_not_here_says_what_is(one: CrossEncoder) -> None:
    with pytest.raises(AttributeError, match=r"^CrossEncoder has no 'to'\. numpy_bert computes on"):
        one.to(one.device)
    with pytest.raises(AttributeError, match=r"^CrossEncoder has no 'encode'\.$"):
        one.encode(["hello"])
    assert not hasattr(one, "fit")


def test_a_new_head_is_made_where_it_is_asked_for(
    plain_demo: Path, folders: dict[int, Path]
) -> None:
    with pytest.raises(CheckpointError, match="has no classifier"):
        CrossEncoder(plain_demo)
    with pytest.warns(UserWarning, match="newly initialized"):
        encoder = CrossEncoder(plain_demo, num_labels=2)
    assert encoder.predict(PAIRS).shape == (5, 2)
    with pytest.raises(CheckpointError, match="1"):
        CrossEncoder(folders[1], num_labels=2)


def test_every_activation_keeps_the_dtype(three: CrossEncoder) -> None:
    for name in TORCH_ACTIVATIONS:
        assert three.predict(PAIRS, activation_fn=name.lower()).dtype == np.float32


def test_pairs_that_are_tokenized_before_have_the_same_bits(
    one: CrossEncoder, three: CrossEncoder
) -> None:
    for model in (one, three):
        items = model.tokenized(PAIRS)
        np.testing.assert_array_equal(model.predict_tokenized(items), model.predict(PAIRS))
        found = model.predict_tokenized(items, "identity")
        np.testing.assert_array_equal(found, model.predict(PAIRS, activation_fn="identity"))
        assert len({item.types for item in items}) > 1

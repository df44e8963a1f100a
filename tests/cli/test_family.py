"""Each command on models of BERT's family: a tiny RoBERTa, a tiny DistilBERT, and others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import numpy_bert
from numpy_bert.architectures import ARCHITECTURES
from numpy_bert.cli import main
from numpy_bert.messages import with_article
from tests.support.family_models import MOST_TOKENS, write_model
from tests.support.hub import StandInHub

TEXT, OTHER = "hello unaffable world", "a test"
TYPES = ("roberta", "distilbert")
MASKS = {"roberta": "<mask>", "distilbert": "[MASK]"}

Make = Callable[..., str]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what writes a tiny model, once for each of its kind."""
    made: dict[tuple[str, str, str], str] = {}

    def write(model_type: str, end: str = "Model", **settings: Any) -> str:
        key = (model_type, end, repr(settings))
        if key not in made:
            folder = tmp_path_factory.mktemp(model_type)
            made[key] = str(write_model(folder, model_type, end, **settings))
        return made[key]

    return write


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Run a command; return what it printed."""
    code, (out, err) = main(list(arguments)), capsys.readouterr()
    assert code == status, err
    return str(out)


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capsys, *arguments, "--json"))
    return found


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_inspect_says_the_architecture(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, entry = make(model_type), ARCHITECTURES[model_type]
    out = run(capsys, "inspect", folder, "--check")
    assert f"architecture: {entry.name}\n" in out
    prefixes = " or ".join(map(repr, entry.encoders.values() or [entry.prefix]))
    says = f"{with_article(entry.name)}: its tensors' names have {prefixes} where a BERT's have"
    assert (says in out) is (model_type != "bert")
    assert "not used" not in out
    assert "checked: no problem found" in out
    assert "word_embeddings.weight" in out
    config = numpy_bert.BertConfig.from_pretrained(folder)
    for name in ("qa_dropout", "relative_attention_num_buckets", "embedding_size"):
        assert (f"  {name} " in out) is (name in config.field_names)
    report = as_json(capsys, "inspect", folder)
    assert report["architecture"] == entry.name
    assert report["config"]["model_type"] == model_type
    assert {tensor["use"] for tensor in report["tensors"]} <= {
        *("input embedding", "encoder", "pooler", "projection")
    }


@pytest.mark.parametrize("model_type", TYPES)
def test_inspect_tells_a_head_from_what_is_not_used(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for end in ("ForMaskedLM", "ForSequenceClassification"):
        report = as_json(capsys, "inspect", make(model_type, end))
        uses = {tensor["use"] for tensor in report["tensors"]}
        assert "head" in uses
        assert "not used" not in uses


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_embed(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(model_type)
    model = numpy_bert.AutoModel.from_pretrained(folder)
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXT, return_tensors="np")
    out = run(capsys, "embed", TEXT, "--model", folder)
    config = model.config
    assert f"input embedding, {config.embedding_features} features, float32" in out
    head, first = out.splitlines()[2].split(), out.splitlines()[3].split()
    assert head[:3] == ["position", "token", "id"]
    assert ("segment" in head) is (config.type_vocab_size > 0)
    assert first[:3] == [
        str(config.first_position),
        tokenizer.cls_token,
        str(tokenizer.cls_token_id),
    ]
    assert ("embeddings.token_type_embeddings" in out) is (config.type_vocab_size > 0)
    assert ("embeddings.task_type_embeddings" in out) is (model_type == "ernie")
    captions = {
        "ernie": "((word + segment) + position) + task",
        "distilbert": "  word + position",
        "electra": "what is projected to the encoder's 24 features",
    }
    assert captions.get(model_type, "position") in out
    steps = as_json(capsys, "embed", TEXT, "--model", folder)["steps"]
    expected = model.embeddings(**{k: v for k, v in inputs.items() if k != "attention_mask"})
    assert np.allclose(np.array(steps[-1]["values"]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model_type", [*TYPES, "electra", "mpnet"])
def test_embed_reads_a_part(
    model_type: str,
    make: Make,
    hub: StandInHub,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is fetched of an embedding alone has the tables that the architecture has."""
    folder = Path(make(model_type))
    hub.add_commit("me/tiny", {path.name: path.read_bytes() for path in folder.iterdir()})
    part = run(capsys, "fetch", "me/tiny", "--only", "embeddings").strip()
    with safe_open(f"{part}/model.safetensors", "np") as file:
        names = list(file.keys())
    assert names
    assert all("embeddings." in name and "encoder" not in name for name in names)
    size = sum(path.stat().st_size for path in Path(part).glob("model.safetensors"))
    assert size < (folder / "model.safetensors").stat().st_size * 0.6
    found = as_json(capsys, "embed", TEXT, "--model", "me/tiny", "--offline")
    whole = as_json(capsys, "embed", TEXT, "--model", str(folder))
    assert found["steps"] == whole["steps"]


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_encode_and_similarity(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = make(model_type)
    out = run(capsys, "encode", TEXT, OTHER, "--model", folder)
    assert "vectors (2, 24), float32" in out
    score = float(run(capsys, "similarity", TEXT, TEXT, "--model", folder))
    encoder = numpy_bert.SentenceEncoder(folder)
    vector = encoder.encode(TEXT)
    assert score == pytest.approx(float(encoder.similarity(vector, vector)[0, 0]), abs=1e-4)
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n{OTHER}\n" * 4, "utf-8")
    saved = tmp_path / "vectors.npy"
    command = ["encode", "--input", str(tmp_path / "texts.txt"), "-o", str(saved)]
    run(capsys, *command, "--model", folder)
    assert np.array_equal(np.load(saved), encoder.encode([TEXT, OTHER] * 4))


@pytest.mark.parametrize("model_type", [*TYPES, "xlm-roberta"])
def test_search(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n{OTHER}\n", "utf-8")
    index = str(tmp_path / "index")
    run(
        capsys, "encode", "--input", str(tmp_path / "texts.txt"), "--index", index,
        "--model", make(model_type),
    )  # fmt: skip
    assert run(capsys, "search", index, OTHER, "-k", "1").splitlines()[1].endswith(f"1  {OTHER}")


@pytest.mark.parametrize("model_type", TYPES)
def test_fill_mask(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder, mask = make(model_type, "ForMaskedLM"), MASKS[model_type]
    lines = run(capsys, "fill-mask", f"a {mask} test", "--model", folder).splitlines()
    assert lines[0].split() == ["score", "word", "id", "text"]
    assert len(lines) == 6
    assert not any(mask in line or "<s>" in line or "[CLS]" in line for line in lines)
    both = run(capsys, "fill-mask", f"{mask} a {mask}", "--model", folder)
    assert both.count(mask) == 10
    assert not any(token in both for token in ("<s>", "</s>", "[CLS]", "[SEP]"))
    other = next(m for m in MASKS.values() if m != mask)
    assert main(["fill-mask", f"a {other} test", "--model", folder]) == 2
    assert mask in capsys.readouterr().err


@pytest.mark.parametrize("model_type", TYPES)
def test_classify(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(model_type, "ForSequenceClassification", num_labels=3)
    found = as_json(capsys, "classify", TEXT, "--model", folder)["results"]
    assert sorted(label["label"] for label in found) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert sum(label["score"] for label in found) == pytest.approx(1.0, abs=1e-5)
    assert len(run(capsys, "classify", TEXT, OTHER, "--model", folder).splitlines()) == 4


@pytest.mark.parametrize("model_type", TYPES)
def test_tag(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(model_type, "ForTokenClassification", num_labels=4)
    found = as_json(capsys, "tag", TEXT, "--model", folder, "--aggregation", "none")["results"]
    assert found
    for entity in found:
        start, end = entity["start"], entity["end"]
        assert 0 <= start < end <= len(TEXT)
    assert "entity" in run(capsys, "tag", TEXT * 9, "--model", folder)  # longer than it reads


@pytest.mark.parametrize("model_type", TYPES)
def test_answer(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(model_type, "ForQuestionAnswering")
    context = f"{TEXT}. " * 4
    (best,) = as_json(capsys, "answer", "who?", context, "--model", folder)["results"]
    assert context[best["start"] : best["end"]] == best["answer"] != ""


@pytest.mark.parametrize("model_type", [*TYPES, "xlm-roberta", "electra", "mpnet"])
def test_rerank(model_type: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(model_type, "ForSequenceClassification", num_labels=1)
    documents = [TEXT, OTHER, "", TEXT * 9]
    lines = run(capsys, "rerank", "who?", *documents, "--model", folder).splitlines()
    assert sorted(int(line.split()[1]) for line in lines[1:]) == [0, 1, 2, 3]
    scores = [float(line.split()[0]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("model_type", TYPES)
def test_trace_and_golden(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, path = make(model_type), tmp_path / "trace.safetensors"
    run(capsys, "trace", TEXT, OTHER, "--model", folder, "-o", str(path))
    with safe_open(path, "np") as file:
        names = set(file.keys())
        last = file.get_tensor("encoder")
    assert "encoder.layer.1.attention.self.query" in names
    assert ("embeddings.token_type_embeddings" in names) is (model_type == "roberta")
    assert last.dtype == np.float64
    longer = make(model_type, max_position_embeddings=300)
    run(capsys, "golden", longer, "-o", str(tmp_path / "golden"))
    assert list((tmp_path / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("model_type", TYPES)
def test_explain(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = make(model_type, "ForMaskedLM")
    out = run(capsys, "explain", f"a {MASKS[model_type]} test", "--model", folder)
    assert MASKS[model_type] in out
    assert "Words that fit at the mask" in out
    run(capsys, "explain", TEXT, "--model", folder, "-o", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").stat().st_size > 1000


ROWS = "text,label\n" + "the cat,animal\na dog,animal\nthe sun,sky\nthe moon,sky\n" * 2
PAIRS = "text,text_pair\na cat,a kitten\nit is warm,the sun is up\nhe,she\na dog,a puppy\n"


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("kind", ["mlm", "classify", "pairs", "sentence"])
def test_train(
    kind: str, model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = make(model_type, "ForMaskedLM" if kind == "mlm" else "Model")
    data = tmp_path / ("data.txt" if kind in ("mlm", "sentence") else "data.csv")
    lines = f"{TEXT}\n{OTHER}\n{TEXT} {OTHER}\n"
    data.write_text({"classify": ROWS, "pairs": PAIRS}.get(kind, lines), "utf-8")
    command = ["train", kind, "--data", str(data), "--model", folder, "-o", str(tmp_path / "run")]
    if kind == "sentence":
        command += ["--teacher", make("xlm-roberta")]
    run(capsys, *command, "--max-steps", "2", "--batch-size", "2", "--max-length", "99")
    saved = str(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    classes = {"mlm": "ForMaskedLM", "classify": "ForSequenceClassification"}
    name = ARCHITECTURES[model_type].classes + classes.get(kind, "Model")
    assert (config["model_type"], config["architectures"]) == (model_type, [name])
    if kind in ("pairs", "sentence"):
        before = numpy_bert.SentenceEncoder(folder).encode(TEXT)
        after = numpy_bert.SentenceEncoder(saved).encode(TEXT)
        assert after.shape == before.shape == (24,)
        assert not np.array_equal(before, after)
    elif kind == "classify":
        assert "animal" in run(capsys, "classify", "a dog", "--model", saved)


def test_next_sentences_are_not_for_all(
    make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A RoBERTa has no head for them; the message names the architecture."""
    (tmp_path / "books.txt").write_text(f"{TEXT}\n{OTHER}\n\n{OTHER}\n{TEXT}\n", "utf-8")
    command = ["train", "mlm", "--next-sentence", "--data", str(tmp_path / "books.txt")]
    assert main([*command, "--model", make("roberta"), "-o", str(tmp_path / "run")]) != 0
    assert "RoBERTa" in capsys.readouterr().err


def test_a_text_is_read_as_far_as_there_are_positions(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """A RoBERTa's table of positions has two rows more than a text may have tokens."""
    folder, text = make("roberta"), "a " * 99
    assert main(["embed", text, "--model", folder]) == 2
    assert f"the model takes {MOST_TOKENS}" in capsys.readouterr().err
    assert main(["embed", text, "--model", folder, "--truncate"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2 + MOST_TOKENS].split()[0] == str(MOST_TOKENS + 1)


@pytest.mark.parametrize("model_type", ["distilbert", "mpnet"])
def test_a_tokenizer_may_tell_segments_that_the_model_has_not(
    model_type: str, make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where no file names a class, a DistilBERT's tokenizer is BERT's, in transformers too."""
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text,text_pair,label\na,hello,x\nb,world,y\n", "utf-8")
    for end, command in (
        ("ForSequenceClassification", ["classify", "who?", TEXT]),
        ("ForQuestionAnswering", ["answer", "who?", TEXT]),
        ("Model", ["embed", "who?", TEXT]),
    ):
        folder = make(model_type, end, layer_norm_eps=1e-12)  # a folder of this test's own
        own = as_json(capsys, *command, "--model", folder)
        config = Path(folder, "tokenizer_config.json")
        stated = json.loads(config.read_text("utf-8"))
        stated["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        config.write_text(json.dumps(stated), "utf-8")
        found = as_json(capsys, *command, "--model", folder)
        assert ("token_type_ids" in found) is (end == "Model")
        found.pop("token_type_ids", None)
        assert found == own
    run(
        capsys, "train", "classify", "--data", str(pairs), "--model", folder,
        "-o", str(tmp_path / "run"), "--max-steps", "1",
    )  # fmt: skip

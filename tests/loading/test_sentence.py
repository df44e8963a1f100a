"""numpy_bert.loading.modules and .sentence: what modules.json names comes, and nothing else."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertModel,
    CheckpointError,
    ConfigError,
    IntegrityError,
    SentenceEncoder,
    SparseEncoder,
    fetch,
)
from numpy_bert.files import read_bytes
from numpy_bert.loading.cache import used_files
from numpy_bert.loading.hub import verify_again
from numpy_bert.loading.modules import (
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ModuleEntry,
    read_modules,
)
from numpy_bert.loading.sentence import find_sentence_model
from tests.support.demo import plain_files
from tests.support.hub import StandInHub

REPO = "someone/sentences"
PLAIN = plain_files()
MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]
FILES = {
    **PLAIN,
    "modules.json": json.dumps(MODULES).encode(),
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "2_Dense/config.json": b'{"in_features": 128}',
    "2_Dense/model.safetensors": b"not looked into " * 200,
    "2_Dense/pytorch_model.bin": b"\x80\x02pickle",
    "4_Dense/model.safetensors": b"not listed",
}


def test_modules_json_is_read_once_in_a_download(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> bytes:
        read.append(path)
        return read_bytes(path, **options)

    monkeypatch.setattr("numpy_bert.loading.modules.read_bytes", counted)
    hub.add_commit(REPO, FILES)
    assert read == [fetch(REPO) / "modules.json"]


def test_a_dense_layers_weights_are_fetched_and_hashed(hub: StandInHub) -> None:
    hub.add_commit(REPO, FILES)
    folder = find_sentence_model(REPO)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == set(FILES) - {"2_Dense/pytorch_model.bin", "4_Dense/model.safetensors"}
    assert folder / "2_Dense" / "model.safetensors" in used_files(folder)
    hub.reset_log()
    assert find_sentence_model(REPO) == folder
    assert hub.requests == []
    blob = (folder / "2_Dense" / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes().replace(b"not", b"NOT"))
    with pytest.raises(IntegrityError, match="2_Dense"):
        verify_again(folder)
    with pytest.raises(IntegrityError, match="2_Dense"):
        find_sentence_model(REPO, local_files_only=True)


def test_a_dense_layer_that_comes_wrong_is_refused(hub: StandInHub) -> None:  # I9
    hub.add_commit(REPO, FILES)
    hub.fault("flip", on="GET", path="2_Dense/model.safetensors")
    with pytest.raises(IntegrityError, match=r"2_Dense/model\.safetensors"):
        find_sentence_model(REPO)


def test_without_weights_no_dense_layer_is_fetched(hub: StandInHub) -> None:
    hub.add_commit(REPO, FILES)
    folder = fetch(REPO, only="embeddings")
    assert (folder / "2_Dense" / "config.json").exists()
    assert not (folder / "2_Dense" / "model.safetensors").exists()


@pytest.mark.parametrize("kind", ["Dense", "LayerNorm", "WeightedLayerPooling", "Pooling"])
def test_what_has_weights_is_listed_with_them(kind: str) -> None:
    files = ModuleEntry(f"sentence_transformers.models.{kind}", "2_X").files
    assert files == ["2_X/config.json", "2_X/model.safetensors"][: 2 - (kind == "Pooling")]


def test_that_there_is_no_modules_json_is_asked_once(hub: StandInHub) -> None:
    hub.add_commit(REPO, PLAIN)
    folder = find_sentence_model(REPO)
    hub.reset_log()
    assert find_sentence_model(REPO) == folder
    assert hub.requests == []


@pytest.mark.parametrize("gone", ["modules.json", "1_Pooling/config.json"])
def test_what_another_program_left_out_is_fetched(hub: StandInHub, gone: str) -> None:
    hub.add_commit(REPO, FILES)
    folder = fetch(REPO)
    (folder / gone).unlink()
    assert find_sentence_model(REPO, local_files_only=True) == folder
    assert not (folder / gone).exists()
    assert find_sentence_model(REPO) == folder
    assert (folder / gone).read_bytes() == FILES[gone]


@pytest.mark.parametrize("name", [*TRANSFORMER_CONFIGS, SETTINGS])
def test_what_is_read_beside_modules_json_is_fetched(hub: StandInHub, name: str) -> None:
    hub.add_commit(REPO, {**FILES, name: b'{"max_seq_length": 7}'})
    folder = fetch(REPO)
    assert (folder / name).read_bytes() == b'{"max_seq_length": 7}'
    assert folder / name in used_files(folder)
    hub.reset_log()
    assert find_sentence_model(REPO) == folder
    assert hub.requests == []
    # As another program leaves it, or an older version of this one, which knew one name only.
    (folder / name).unlink()
    assert find_sentence_model(REPO, local_files_only=True) == folder
    assert not (folder / name).exists()
    assert find_sentence_model(REPO) == folder
    assert (folder / name).exists()


def test_that_there_is_nothing_beside_modules_json_is_asked_once(hub: StandInHub) -> None:
    hub.add_commit(REPO, {**FILES, TRANSFORMER_CONFIGS[2]: b"{}"})
    folder = fetch(REPO)
    marks = folder.parent.parent / ".no_exist"
    shutil.rmtree(marks)
    hub.reset_log()
    assert find_sentence_model(REPO) == folder
    assert hub.requests
    hub.reset_log()
    assert find_sentence_model(REPO) == folder
    assert hub.requests == []
    names = {path.name for path in (marks / folder.name).iterdir()}
    assert names == {*TRANSFORMER_CONFIGS, SETTINGS} - {TRANSFORMER_CONFIGS[2]}


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "/etc", "a/../..", "a\\b", "C:x", ".hidden", "a\nb", "/", "//", "..", "../"),
        *("./../x", ".//etc", "\\", "a/./b", "./.hidden/", ".\\..\\x", "...", "./a/b"),
        *("x" * 256, "\N{GRINNING FACE}" * 64, "x" * 5000, "\ud800", "a\0b"),
    ],
    ids=lambda path: ascii(path)[1:30],
)
def test_a_folder_that_could_escape_is_not_asked_for(
    hub: StandInHub, path: str, tmp_path: Path
) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"path": path, "type": "x.Dense"}]))
    read = read_modules(tmp_path / "modules.json", error=ConfigError)[0]
    assert (read.files, read.is_plain) == ([], False)
    assert ModuleEntry("x.Dense", path).files == []
    assert not ModuleEntry("x.Dense", path).is_plain
    modules = [MODULES[0], {"path": path, "type": "x.Dense"}]
    hub.add_commit(REPO, {**FILES, "modules.json": json.dumps(modules).encode()})
    find_sentence_model(REPO)
    asked = {request.part["file"] for request in hub.requests}
    assert asked <= {*PLAIN, "modules.json", ""}


PATHS = {
    "": ["", ".", "./", "./.", ".\\"],
    "1_Pooling": [
        *("1_Pooling", "./1_Pooling", "1_Pooling/", "./1_Pooling//", "././1_Pooling"),
        *("1_Pooling\\", ".\\1_Pooling"),
    ],
}


@pytest.mark.parametrize(("name", "path"), [(name, p) for name in PATHS for p in PATHS[name]])
def test_a_folder_by_another_spelling_is_the_same(name: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"path": path, "type": "x.Pooling"}]))
    assert read_modules(tmp_path / "modules.json", error=ConfigError) == [
        ModuleEntry("x.Pooling", name)
    ]


def test_folders_by_other_spellings_are_fetched(hub: StandInHub) -> None:
    modules = [{**MODULES[0], "path": "./"}, {**MODULES[1], "path": "./1_Pooling/"}]
    files = {**PLAIN, "modules.json": json.dumps(modules).encode()}
    hub.add_commit(REPO, files | {"1_Pooling/config.json": b'{"pooling_mode": "cls"}'})
    assert SentenceEncoder.from_pretrained(REPO).pooling == ("cls",)


INNER = {
    "modules.json": json.dumps([{**MODULES[0], "path": "0_Transformer"}, MODULES[1]]).encode(),
    "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
    **{f"0_Transformer/{name}": data for name, data in PLAIN.items()},
    "0_Transformer/sentence_bert_config.json": b'{"max_seq_length": 7}',
}


def sharded() -> dict[str, bytes]:
    """Return the files of `INNER` with the weights in a shard and its index."""
    data = INNER["0_Transformer/model.safetensors"]
    (length,) = struct.unpack("<Q", data[:8])
    names = json.loads(data[8 : 8 + length]).keys() - {"__metadata__"}
    index = {"weight_map": dict.fromkeys(sorted(names), "part.safetensors")}
    files = {k: v for k, v in INNER.items() if k != "0_Transformer/model.safetensors"}
    return files | {
        "0_Transformer/part.safetensors": data,
        "0_Transformer/model.safetensors.index.json": json.dumps(index).encode(),
    }


@pytest.mark.parametrize("kind", ["alone", "sharded", "beside another"])
def test_a_bert_in_a_folder_of_its_own_comes_from_the_hub(hub: StandInHub, kind: str) -> None:
    files = sharded() if kind == "sharded" else dict(INNER)
    if kind == "beside another":
        files |= PLAIN
    hub.add_commit(REPO, files)
    encoder = SentenceEncoder.from_pretrained(REPO)
    assert (encoder.pooling, encoder.max_seq_length) == (("cls",), 7)
    folder = find_sentence_model(REPO, local_files_only=True)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == set(files)
    assert {path.relative_to(folder).as_posix() for path in used_files(folder)} == found
    local = SentenceEncoder.from_pretrained(folder)
    np.testing.assert_array_equal(encoder.encode("a test"), local.encode("a test"))
    hub.reset_log()
    SentenceEncoder.from_pretrained(REPO)
    SentenceEncoder.from_pretrained(REPO, local_files_only=True)
    assert hub.requests == []
    if kind != "beside another":
        with pytest.raises(CheckpointError, match=r"its BERT in 0_Transformer\. SentenceEncoder"):
            BertModel.from_pretrained(REPO)
        inner = BertModel.from_pretrained(folder / "0_Transformer")
        assert inner.config == encoder.model.config
    # All of it is hashed.
    weights = next(p for p in folder.glob("0_Transformer/*.safetensors"))
    blob = weights.resolve()
    blob.write_bytes(blob.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"(model|part)\.safetensors: its bytes hash"):
        SentenceEncoder.from_pretrained(REPO, local_files_only=True)


def test_no_part_is_taken_of_a_bert_in_a_folder_of_its_own(hub: StandInHub) -> None:
    hub.add_commit(REPO, INNER)
    with pytest.raises(CheckpointError, match=r"has its BERT in a folder of its own\. Fetch it"):
        fetch(REPO, only="embeddings")
    assert (fetch(REPO, only=None) / "0_Transformer" / "model.safetensors").exists()


def test_an_inner_bert_that_another_program_left_out_is_fetched(hub: StandInHub) -> None:
    hub.add_commit(REPO, PLAIN | INNER)
    folder = fetch(REPO)
    (folder / "0_Transformer" / "model.safetensors").unlink()
    SentenceEncoder.from_pretrained(REPO)
    assert (folder / "0_Transformer" / "model.safetensors").exists()


def test_a_sparse_encoder_comes_whole(hub: StandInHub) -> None:
    home = "sentence_transformers.sparse_encoder.models"
    modules = [
        {"path": "0_MLM", "type": f"{home}.MLMTransformer"},
        {"path": "1_SpladePooling", "type": f"{home}.SpladePooling"},
    ]
    files = {
        "modules.json": json.dumps(modules).encode(),
        "1_SpladePooling/config.json": b'{"pooling_strategy": "sum"}',
        **{f"0_MLM/{name}": data for name, data in PLAIN.items()},
    }
    hub.add_commit(REPO, files)
    assert "pooling sum" in repr(SparseEncoder(REPO))
    hub.reset_log()
    SparseEncoder(REPO)
    assert hub.requests == []
    folder = find_sentence_model(REPO, local_files_only=True)
    for gone in ("0_MLM/model.safetensors", "1_SpladePooling/config.json"):
        (folder / gone).unlink()
        assert "pooling sum" in repr(SparseEncoder(REPO))


def test_a_short_name_of_a_sparse_encoder(hub: StandInHub) -> None:
    config = json.loads(PLAIN["config.json"]) | {"architectures": ["BertForMaskedLM"]}
    files = PLAIN | {"config.json": json.dumps(config).encode()}
    hub.add_commit("sparse-encoder/short-name", files)
    assert "pooling max" in repr(SparseEncoder("short-name"))


def test_a_pickled_dense_layer_is_refused_with_what_to_do(hub: StandInHub) -> None:
    files = {name: data for name, data in FILES.items() if name != "2_Dense/model.safetensors"}
    hub.add_commit(REPO, files)
    for options in ({}, {}, {"local_files_only": True}):
        given: Any = options
        with pytest.raises(CheckpointError) as raised:
            SentenceEncoder.from_pretrained(REPO, **given)
        assert str(raised.value).startswith(
            f"{REPO}: has no 2_Dense/model.safetensors. A module's pickled weights are refused"
        )
        assert str(raised.value).endswith(
            f"\n  from sentence_transformers import SentenceTransformer"
            f"\n  SentenceTransformer({REPO!r}).save_pretrained('converted')"
        )
    assert not any("pytorch_model" in request.path for request in hub.requests)
    assert BertModel.from_pretrained(REPO).config.hidden_size == 128  # which reads no Dense


SHORT = "tiny-sentences"
PLAIN_MODEL = {**PLAIN, "modules.json": json.dumps(MODULES[:2]).encode()} | {
    "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}'
}


def test_a_short_name_is_looked_for_under_sentence_transformers(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.add_commit(f"sentence-transformers/{SHORT}", PLAIN_MODEL)
    hub.add_commit(SHORT, PLAIN)
    assert SentenceEncoder.from_pretrained(SHORT).pooling == ("cls",)
    hub.reset_log()
    assert SentenceEncoder.from_pretrained(SHORT).pooling == ("cls",)  # from the cache
    assert hub.requests == []
    BertModel.from_pretrained(SHORT)  # which has no such rule, and asks for it as it is
    assert {request.part["repo"] for request in hub.requests} == {SHORT}
    # The cache has both now; the name as it is comes first.
    assert SentenceEncoder.from_pretrained(SHORT).pooling == ("mean",)
    folder = tmp_path / SHORT
    folder.mkdir()
    with pytest.raises(ConfigError, match=f"^{SHORT}/config.json: does not exist"):
        SentenceEncoder.from_pretrained(SHORT)  # and before that a folder


def test_a_short_name_in_a_cache_without_refs(hub: StandInHub) -> None:
    hub.add_commit(SHORT, PLAIN_MODEL)
    folder = fetch(SHORT)
    shutil.rmtree(folder.parent.parent / "refs")
    with pytest.warns(UserWarning, match="The only commit there"):
        assert find_sentence_model(SHORT, local_files_only=True) == folder
    hub.reset_log()
    assert find_sentence_model(SHORT) == folder
    assert {request.part["repo"] for request in hub.requests} == {SHORT}


@pytest.mark.parametrize("name", ["bert-base-uncased", "BERT-base-uncased", "someone/tiny"])
def test_other_names_are_asked_for_as_they_are(hub: StandInHub, name: str) -> None:
    hub.add_commit(name, PLAIN)
    assert SentenceEncoder.from_pretrained(name).pooling == ("mean",)
    assert {request.part["repo"] for request in hub.requests} == {name}


def test_the_cache_of_sentence_transformers(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_commit(REPO, PLAIN_MODEL)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "theirs"))
    folder = find_sentence_model(REPO)
    assert folder.parent.parent.parent == tmp_path / "theirs"
    hub.reset_log()
    assert find_sentence_model(REPO, local_files_only=True) == folder
    assert find_sentence_model(REPO, cache_dir=tmp_path / "own").is_relative_to(tmp_path / "own")
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", "")
    assert find_sentence_model(REPO).is_relative_to(tmp_path / "home")


def test_a_folder_may_have_the_longest_name_of_all(tmp_path: Path) -> None:
    for name in ("x" * 255, "\N{GRINNING FACE}" * 63):
        assert ModuleEntry("x.Pooling", name).is_plain
        (tmp_path / name).mkdir()


@pytest.mark.parametrize(
    "content",
    [
        *('{"a": 1}', "[1]", '[{"type": "x"}]', "5", '[{"path": null}]', '[{"path": 1}]'),
        *('[{"path": ["a"]}]', '[{"path": {"a": "b"}}]'),
    ],
)
def test_no_list_of_modules(tmp_path: Path, content: str) -> None:
    path = tmp_path / "modules.json"
    path.write_text(content)
    for error in (CheckpointError, ConfigError):
        kind: Any = error
        with pytest.raises(kind, match="is not a list of modules with a path each"):
            read_modules(path, error=kind)

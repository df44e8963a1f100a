"""numpy_bert.loading.modules and .sentence: what modules.json names comes, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from numpy_bert import CheckpointError, ConfigError, IntegrityError, fetch
from numpy_bert.loading import client
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
from tests.support.hub import PATIENCE, StandInHub, hub_environment

REPO = "someone/sentences"
DEMO = plain_files()
PLAIN = {
    name: DEMO[name]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
}
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub() as stand_in:
        for name, value in hub_environment(stand_in, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        import huggingface_hub.constants

        # Read once, when the client was imported, perhaps by an earlier test.
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(client, "_DEADLINE", PATIENCE)
        yield stand_in


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


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../..", "a\\b", "C:x", ".hidden", "a\nb"])
def test_a_folder_that_could_escape_is_not_asked_for(hub: StandInHub, path: str) -> None:
    assert ModuleEntry("x.Dense", path).files == []
    assert not ModuleEntry("x.Dense", path).is_plain
    modules = [MODULES[0], {"path": path, "type": "x.Dense"}]
    hub.add_commit(REPO, {**FILES, "modules.json": json.dumps(modules).encode()})
    find_sentence_model(REPO)
    asked = {request.part["file"] for request in hub.requests}
    assert asked <= {*PLAIN, "modules.json", ""}


@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", '[{"type": "x"}]', "5"])
def test_no_list_of_modules(tmp_path: Path, content: str) -> None:
    path = tmp_path / "modules.json"
    path.write_text(content)
    for error in (CheckpointError, ConfigError):
        kind: Any = error
        with pytest.raises(kind, match="is not a list of modules with a path each"):
            read_modules(path, error=kind)

"""Files that a folder lists and cannot give: never taken for absent, since vectors would change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numpy_bert import (
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    OfflineError,
    SentenceEncoder,
    fetch,
)
from numpy_bert.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    NumpyBertError,
    TokenizerError,
)
from numpy_bert.loading.cache import CachedRepository
from tests.support.demo import plain_files
from tests.support.hub import StandInHub
from tests.support.platforms import posix
from tests.support.repository import REPO
from tests.support.sentence_models import dense_files, write

SETTINGS = "config_sentence_transformers.json"
OWN = {
    **dense_files(),
    "sentence_bert_config.json": {"max_seq_length": 40, "do_lower_case": True},
    SETTINGS: {"prompts": {"query": "q: "}, "default_prompt_name": "query"},
    "tokenizer_config.json": {"do_lower_case": True, "tokenizer_class": "BertTokenizer"},
    "special_tokens_map.json": {"unk_token": "[UNK]"},
    "added_tokens.json": {},
}
FILES: dict[str, bytes] = {
    **plain_files(),
    **{n: c if isinstance(c, bytes) else json.dumps(c).encode() for n, c in OWN.items()},
}
FILES["vocab.txt"] = b"".join(
    token.encode() + b"\n" for token in json.loads(FILES["tokenizer.json"])["model"]["vocab"]
)
ERRORS: dict[str, type[NumpyBertError]] = {
    "modules.json": ConfigError,
    "sentence_bert_config.json": ConfigError,
    SETTINGS: ConfigError,
    "1_Pooling/config.json": ConfigError,
    "2_Dense/config.json": ConfigError,
    "2_Dense/model.safetensors": CheckpointError,
    "config.json": ConfigError,
    "model.safetensors": CheckpointError,
    "tokenizer.json": TokenizerError,
    "tokenizer_config.json": TokenizerError,
    "special_tokens_map.json": TokenizerError,
    "added_tokens.json": TokenizerError,
    "vocab.txt": TokenizerError,
}
TEXT = "The sun is shining, and nobody is at home."


def lose(path: Path, how: str = "gone") -> None:
    """Leave of a file no more than a link that leads nowhere, as where a blob is gone."""
    if path.is_symlink():
        path.resolve().unlink()
        return
    path.unlink()
    path.symlink_to(path if how == "loop" else path.parent / "blobs" / how)


@pytest.mark.parametrize("how", ["gone", "loop"])
@pytest.mark.parametrize("name", ERRORS)
@posix
def test_a_folder_of_ones_own_says_which_file_is_lost(name: str, how: str, tmp_path: Path) -> None:
    folder = write(tmp_path, FILES)
    lose(folder / name, how)
    what = {"gone": "is a link to a file that is gone", "loop": r"cannot be looked at \(Too many"}
    with pytest.raises(ERRORS[name], match=rf"^{folder / name}: {what[how]}"):
        SentenceEncoder(folder)


@pytest.mark.parametrize("name", ERRORS)
def test_a_git_lfs_pointer_in_the_place_of_any_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, FILES)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
    (folder / name).write_bytes(pointer)
    with pytest.raises(ERRORS[name], match=rf"^{folder / name}: is a Git LFS pointer: the file "):
        SentenceEncoder(folder)


@posix
def test_a_file_that_is_lost_from_the_cache_is_fetched_again(hub: StandInHub) -> None:
    hub.add_commit(REPO, FILES)
    expected = SentenceEncoder(REPO).encode(TEXT)
    folder = fetch(REPO)
    for name in ERRORS:
        lose(folder / name)
        with pytest.raises((OfflineError, CheckpointError), match=name.rpartition("/")[2]):
            SentenceEncoder(REPO, local_files_only=True)
        assert (folder / name).is_symlink()
        hub.reset_log()
        assert np.array_equal(SentenceEncoder(REPO).encode(TEXT), expected)
        gets = [r.part for r in hub.requests if r.method == "GET" and not r.part["api"]]
        assert [part["file"] for part in gets] == [name]
    hub.reset_log()
    SentenceEncoder(REPO)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("tokenizer_config.json", BertTokenizer.from_pretrained),
        ("tokenizer.json", BertTokenizer.from_pretrained),
        ("config.json", BertModel.from_pretrained),
        ("model.safetensors", BertModel.from_pretrained),
        (SETTINGS, BertForSequenceClassification.from_pretrained),
    ],
)
@posix
def test_every_reader_heeds_what_is_lost(
    name: str, load: Callable[..., Any], hub: StandInHub
) -> None:
    hub.add_commit(REPO, FILES)
    folder = fetch(REPO)
    lose(folder / name)
    with pytest.raises(OfflineError) as raised:
        load(REPO, local_files_only=True)
    assert f" lacks {name}, and no request was allowed" in str(raised.value)
    assert f"numpy-bert fetch {REPO}" in str(raised.value)
    assert fetch(REPO) == folder
    assert (folder / name).read_bytes() == FILES[name]


@posix
def test_of_a_local_folder_fetch_says_what_is_lost(tmp_path: Path) -> None:
    folder = write(tmp_path, FILES)
    lose(folder / "sentence_bert_config.json")
    with pytest.raises(CheckpointError, match=r"bert_config\.json: is a link to a file that is go"):
        fetch(folder)


@posix
def test_an_index_that_is_lost_does_not_leave_the_field_to_others(tmp_path: Path) -> None:
    """Nor do single weights that are lost to an index that stands beside them."""
    folder = write(tmp_path, FILES)
    (folder / "model.safetensors.index.json").write_text("{}")
    lose(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is a link to a file that is"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("how", ["loop", "gone", "endless", "long", "pipe"])
@posix
def test_a_reference_that_cannot_be_read_names_no_commit(how: str, tmp_path: Path) -> None:
    repository = CachedRepository("a/b", tmp_path)
    refs = repository.folder / "refs"
    refs.mkdir(parents=True)
    (repository.folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    if how == "long":
        (refs / "main").write_text("0" * 40 + " " * 5000)
    elif how == "pipe":
        os.mkfifo(refs / "main")
    else:
        places = {"loop": refs / "main", "gone": Path("no"), "endless": Path("/dev/zero")}
        (refs / "main").symlink_to(places[how])
    assert repository.snapshot(None) is None
    assert repository.only_snapshot(None) is None  # something is recorded, nobody knows what
    assert repository.snapshot("x" * 300) is None


@posix
def test_a_cache_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "gone").symlink_to("elsewhere")
    for name in ("file", "gone"):
        with pytest.raises(InputError) as raised:
            fetch("a/b", cache_dir=tmp_path / name, local_files_only=True)
        assert str(raised.value).startswith(f"{tmp_path / name}")
        assert "or the environment variables HF_HUB_CACHE and HF_HOME." in str(raised.value)


@posix
def test_a_name_whose_owner_is_a_file_here_is_a_repositorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("someone").write_bytes(b"")
    Path("model").symlink_to("gone")
    with pytest.raises(OfflineError, match="has no copy"):
        fetch("someone/model", local_files_only=True)
    with pytest.raises(InputError, match=r"^model: the folder model is a link to a file that is g"):
        fetch("model", local_files_only=True)

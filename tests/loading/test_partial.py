"""The input embedding fetched alone: which bytes, where they are kept, how they are found."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from numpy_bert import (
    AutoModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    HubError,
    InputError,
    IntegrityError,
    OfflineError,
    fetch,
)
from numpy_bert.loading import integrity, partial
from numpy_bert.loading.cache import TOKENIZER_FILES, used_files
from numpy_bert.loading.hub import cached_part, find, verify_again
from numpy_bert.parameters import arrays_of
from tests.loading.test_spellings import SPELLINGS
from tests.support.checkpoints import TINY, pack, random_tensors, serialize, write_shards
from tests.support.hub import StandInHub, hub_environment
from tests.support.platforms import posix
from tests.support.repository import FILES, REPO, TAKEN, cache_of, contents, corrupt

WEIGHTS = "model.safetensors"
RECORD = "numpy_bert_part.json"
SMALL = TAKEN - {WEIGHTS}
CONFIG = json.dumps(TINY).encode()


def part_of(tmp_path: Path, commit: str) -> Path:
    return cache_of(tmp_path) / ".numpy_bert_embeddings" / commit


def table(data: bytes) -> tuple[int, dict[str, Any]]:
    """Return where the data of a file begins, and its header."""
    (length,) = struct.unpack("<Q", data[:8])
    return 8 + length, json.loads(data[8 : 8 + length])


def needed(data: bytes) -> dict[str, tuple[int, int]]:
    """Return where the tensors of the input embedding lie in a file."""
    base, header = table(data)
    tails = (
        *(f"{kind}_embeddings.weight" for kind in ("word", "position", "token_type")),
        *(f"embeddings.LayerNorm.{end}" for end in ("weight", "bias", "gamma", "beta")),
    )
    return {
        name: (base + entry["data_offsets"][0], base + entry["data_offsets"][1])
        for name, entry in header.items()
        if name.endswith(tails) and "encoder.layer" not in name
    }


def asked(hub: StandInHub, name: str = WEIGHTS) -> list[tuple[int, int]]:
    """Return the ranges of a file that were asked for, as slices."""
    gets = [r for r in hub.requests if r.method == "GET" and r.part["file"] == name]
    spans = [request.headers["range"].removeprefix("bytes=").split("-") for request in gets]
    return [(int(first), int(last) + 1) for first, last in spans]


def arrays(model: BertModel) -> dict[str, bytes]:
    named = arrays_of(model.embeddings.parameters, "embeddings.")
    return {name: array.tobytes() for name, array in named}


@cache
def demo() -> dict[str, bytes]:
    """Return the tables that a part of the demo must have."""
    return arrays(BertModel.from_pretrained("demo"))


def test_only_the_header_and_five_tensors_are_asked_for(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    folder = fetch(REPO, only="embeddings")
    assert folder == part_of(tmp_path, commit)
    data = FILES[WEIGHTS]
    base, _ = table(data)
    spans = needed(data)
    assert len(spans) == 5
    size = sum(stop - start for start, stop in spans.values())
    ranges = asked(hub)
    assert ranges[:2] == [(0, 8), (8, base)]
    assert sum(stop - start for start, stop in ranges) == base + size < len(data)
    # The demo's tensors are sorted by name, so all five touch: one request.
    assert ranges[2:] == [(min(spans.values())[0], max(spans.values())[1])]
    for request in hub.requests:
        assert "authorization" not in request.headers
        if request.part["file"] == WEIGHTS:
            assert request.headers["accept-encoding"] == "identity"
            assert request.part["revision"] == commit


def test_the_file_is_valid_and_says_where_it_is_from(hub: StandInHub, commit: str) -> None:
    folder = fetch(REPO, only="embeddings")
    whole = FILES[WEIGHTS]
    spans = needed(whole)
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        assert set(file.keys()) == set(spans)
        metadata = file.metadata()
    data = (folder / WEIGHTS).read_bytes()
    base, header = table(data)
    assert base % 8 == 0
    for name, (start, stop) in spans.items():
        first, last = header[name]["data_offsets"]
        assert data[base + first : base + last] == whole[start:stop]
        assert {key: header[name][key] for key in ("dtype", "shape")} == {
            key: table(whole)[1][name][key] for key in ("dtype", "shape")
        }
    start, stop = min(spans.values())[0], max(spans.values())[1]
    assert (metadata["repository"], metadata["commit"]) == (REPO, commit)
    assert metadata["only"] == "embeddings"
    assert "format" not in metadata  # else transformers would make up an encoder
    assert "cannot be checked against the hash" in metadata["note"]
    assert json.loads(metadata["files"]) == [
        {
            "name": WEIGHTS,
            "etag": hashlib.sha256(whole).hexdigest(),
            "size": len(whole),
            "ranges": [f"{start}-{stop - 1}"],
        }
    ]
    record = json.loads((folder / RECORD).read_bytes())
    assert record["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_folder_holds_links_like_the_snapshots(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    folder = fetch(REPO, only="embeddings")
    snapshot = cache_of(tmp_path) / "snapshots" / commit
    assert set(contents(folder)) == {*SMALL, WEIGHTS, RECORD}
    assert contents(snapshot) == {name: FILES[name] for name in SMALL}
    for name in SMALL:
        assert (folder / name).readlink() == (snapshot / name).readlink()
    assert not (folder / WEIGHTS).is_symlink()
    # All that has a hash is held to it, and the part to its own.
    assert {path.name for path in verify_again(folder)} == {Path(name).name for name in TAKEN}
    assert not list(cache_of(tmp_path).rglob("*.tmp"))


def test_where_there_are_no_links_the_small_files_are_copies(
    hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True, raising=False)
    folder = fetch(REPO, only="embeddings")
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert {name: contents(folder)[name] for name in SMALL} == {n: FILES[n] for n in SMALL}
    assert BertModel.from_pretrained(folder, only="embeddings").config.hidden_size == 128


@pytest.mark.parametrize("write", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_the_same_embedding(
    write: Callable[[Path], Path], hub: StandInHub, tmp_path: Path
) -> None:
    local = write(tmp_path / "local")
    files = contents(local)
    hub.add_commit(REPO, files)
    found = BertModel.from_pretrained(REPO, only="embeddings")
    assert arrays(found) == arrays(BertModel.from_pretrained(local))
    for name, data in files.items():
        if name.endswith(".safetensors"):
            spans = needed(data)
            ranges = asked(hub, name)
            size = sum(stop - start for start, stop in spans.values())
            expected = table(data)[0] + size if spans else 0
            assert sum(stop - start for start, stop in ranges) == expected
    (written,) = found.loading_info.files
    assert table(Path(written).read_bytes())[0] % 8 == 0  # aligned, to be mapped
    ids = np.arange(9)[np.newaxis]
    whole = BertModel.from_pretrained(local).embeddings(ids)
    assert found.embeddings(ids).tobytes() == whole.tobytes()


def test_ranges_that_touch_are_one_request(hub: StandInHub) -> None:
    tensors = random_tensors()
    order = ["word", "bias", "LayerNorm.weight", "token_type", "position"]
    keys = [next(k for k in tensors if k.startswith("emb") and end in k) for end in order]
    middle = [k for k in tensors if k not in keys]
    # Two, one of the encoder's, three, and the rest behind.
    names = [*keys[:2], middle[0], *keys[2:], *middle[1:]]
    data = serialize({name: tensors[name] for name in names})
    hub.add_commit(REPO, {"config.json": CONFIG, WEIGHTS: data})
    fetch(REPO, only="embeddings")
    spans = needed(data)
    assert asked(hub)[2:] == [
        (spans[keys[0]][0], spans[keys[1]][1]),
        (spans[keys[2]][0], spans[keys[4]][1]),
    ]


def test_warm_is_without_a_request(hub: StandInHub, commit: str) -> None:
    folder = fetch(REPO, only="embeddings")
    hub.reset_log()
    model = BertModel.from_pretrained(REPO, only="embeddings")
    tokenizer = BertTokenizer.from_pretrained(REPO)
    assert model.embeddings(tokenizer("a", return_tensors="np")["input_ids"]).shape == (1, 3, 128)
    assert model.loading_info.files == (str(folder / WEIGHTS),)
    for revision in (None, "main", commit):
        options: dict[str, Any] = {"revision": revision, "local_files_only": True}
        assert fetch(REPO, only="embeddings", **options) == folder
    assert hub.requests == []
    # `fetch` asks what the branch is now, and nothing more.
    assert fetch(REPO, only="embeddings") == folder
    assert [request.part["api"] for request in hub.requests] == ["/api/models"]


def test_what_was_downloaded_is_not_hashed_again(
    hub: StandInHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(REPO, only="embeddings")

    def hashed(*_: object, **__: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(integrity, "_hash", hashed)
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128
    with pytest.raises(AssertionError, match="hashed again"):
        verify_again(folder)


def test_nothing_of_the_rest_is_missing_or_unexpected(hub: StandInHub, commit: str) -> None:
    part = BertModel.from_pretrained(REPO, only="embeddings").loading_info
    assert (part.missing_keys, part.unexpected_keys, part.notes) == ((), (), ())
    assert {key for key, _, _ in part.cast} == demo().keys()
    # Of a whole file no more is used, and unexpected is what a whole model has no use for.
    whole = BertModel.from_pretrained("demo", only="embeddings").loading_info
    assert whole.cast == part.cast
    assert whole.missing_keys == ()
    assert whole.unexpected_keys == BertModel.from_pretrained("demo").loading_info.unexpected_keys


def test_a_part_is_never_taken_for_the_whole(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    folder = fetch(REPO, only="embeddings")
    for call in (fetch, BertModel.from_pretrained):
        with pytest.raises(
            OfflineError, match=r"lacks model\.safetensors.*numpy-bert fetch \S+\. "
        ):
            call(REPO, local_files_only=True)
    with pytest.raises(CheckpointError, match=r"keys missing"):
        BertModel.from_pretrained(folder)
    whole = BertModel.from_pretrained(REPO)
    snapshot = cache_of(tmp_path) / "snapshots" / commit
    assert whole.loading_info.files == (str(snapshot / WEIGHTS),)
    assert contents(snapshot) == {name: FILES[name] for name in TAKEN}


def test_a_whole_snapshot_is_as_good_and_comes_first(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    part = fetch(REPO, only="embeddings")
    snapshot = fetch(REPO)
    assert find(REPO, needs=TOKENIZER_FILES, only="embeddings") == snapshot
    hub.reset_log()
    assert BertModel.from_pretrained(REPO, only="embeddings").loading_info.files == (
        str(snapshot / WEIGHTS),
    )
    assert fetch(REPO, only="embeddings", local_files_only=True) == snapshot
    assert hub.requests == []
    shutil.rmtree(part)
    assert fetch(REPO, only="embeddings") == snapshot
    assert asked(hub) == []
    assert cached_part(REPO) is None


def test_a_corrupt_whole_snapshot_is_mended_as_a_whole(hub: StandInHub, commit: str) -> None:
    snapshot = fetch(REPO)
    corrupt(snapshot / WEIGHTS)
    with pytest.raises(IntegrityError):
        BertModel.from_pretrained(REPO, only="embeddings", local_files_only=True)
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128
    assert contents(snapshot) == {name: FILES[name] for name in TAKEN}


def test_offline_says_how_to_get_it(hub: StandInHub, commit: str) -> None:
    for call in (fetch, BertModel.from_pretrained):
        with pytest.raises(OfflineError, match=rf"numpy-bert fetch {REPO} --only embeddings\. "):
            call(REPO, only="embeddings", local_files_only=True)
    assert hub.requests == []


def test_a_warm_part_survives_a_hub_that_is_gone(hub: StandInHub, commit: str) -> None:
    folder = fetch(REPO, only="embeddings")
    hub.close()
    with pytest.warns(UserWarning, match=rf"could not be reached.*cached commit {commit} is used"):
        assert fetch(REPO, only="embeddings") == folder


def test_a_new_commit_is_a_new_part(hub: StandInHub, commit: str, tmp_path: Path) -> None:
    old = fetch(REPO, only="embeddings")
    other = hub.add_commit(REPO, {**FILES, "README.md": b"new"})
    assert BertModel.from_pretrained(REPO, only="embeddings").loading_info.files == (
        str(old / WEIGHTS),
    )
    assert fetch(REPO, only="embeddings") == part_of(tmp_path, other)
    assert fetch(REPO, only="embeddings", revision=commit) == old


def test_local_folders_are_returned_as_they_are(hub: StandInHub, tmp_path: Path) -> None:
    assert fetch("demo", only="embeddings") == fetch("demo")
    assert cached_part("demo") is None
    with pytest.raises(CheckpointError, match=r"this folder has no config\.json"):
        fetch(tmp_path, only="embeddings")
    assert hub.requests == []


@pytest.mark.parametrize("only", ["encoder", "", True, 5, ["embeddings"]])
def test_other_parts_are_refused(only: Any) -> None:
    words = r"^only must be 'embeddings' or None; got .*\.$"
    with pytest.raises(InputError, match=words):
        fetch("demo", only=only)
    with pytest.raises(InputError, match=words):
        BertModel.from_pretrained("demo", only=only)


@pytest.mark.parametrize("how", ["flip", "cut", "record", "no record", "hash"])
def test_a_part_that_changed_is_found_and_fetched_again(
    hub: StandInHub, commit: str, how: str
) -> None:
    folder = fetch(REPO, only="embeddings")
    good = contents(folder)
    if how == "flip":
        corrupt(folder / WEIGHTS)
    elif how == "cut":
        os.truncate(folder / WEIGHTS, 100)
    elif how == "record":
        (folder / RECORD).write_text("{")
    elif how == "hash":
        (folder / RECORD).write_text('{"sha256": "../../x"}')
    else:
        (folder / RECORD).unlink()
    expected = OfflineError if how == "no record" else IntegrityError
    with pytest.raises(expected):
        BertModel.from_pretrained(REPO, only="embeddings", local_files_only=True)
    if expected is IntegrityError:
        with pytest.raises(IntegrityError):
            verify_again(folder)
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128
    assert contents(folder) == good


def test_a_small_file_that_changed_is_found_too(hub: StandInHub, commit: str) -> None:
    folder = fetch(REPO, only="embeddings")
    corrupt(folder / "tokenizer.json")
    with pytest.raises(IntegrityError):
        fetch(REPO, only="embeddings", local_files_only=True)
    hub.reset_log()
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128
    assert asked(hub) == []  # of the weights nothing was needed
    assert contents(folder)["tokenizer.json"] == FILES["tokenizer.json"]


def entry(data: bytes, name: str, **changes: Any) -> bytes:
    """Change what the header of a file says of a tensor."""
    base, header = table(data)
    header[name] |= changes
    return pack(json.dumps(header).encode(), data[base:])


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "short": (lambda data: data[:5], "a safetensors header needs 8 at least"),
    "empty": (lambda data: b"", "a safetensors header needs 8 at least"),
    "page": (lambda data: b"<html><p>" * 99, "is an HTML or XML page"),
    "huge": (lambda data: struct.pack("<Q", 1 << 40) + data[8:], "the header claims 1,099,"),
    "none": (lambda data: pack(b"", data), "does not start with '{'"),
    "no JSON": (lambda data: pack(b"{" * 50, data), "is not JSON|nested too deeply"),
    "beyond": (
        lambda data: entry(data, "embeddings.LayerNorm.bias", data_offsets=[1 << 40, 2 << 40]),
        "has 1,099,511,627,776 bytes; F32 of shape",
    ),
    "backwards": (
        lambda data: entry(data, "embeddings.LayerNorm.bias", data_offsets=[96, 0]),
        "must have a dtype, a shape and two offsets; got ",
    ),
    "hole": (
        lambda data: entry(
            data, "embeddings.LayerNorm.bias", data_offsets=[1 << 30, (1 << 30) + 96]
        ),
        "starts at byte",
    ),
    "too long": (lambda data: data + b"\0", "it is too long"),
    "shape": (
        lambda data: serialize(random_tensors() | {"embeddings.LayerNorm.bias": np.ones(25, "f4")}),
        r"is \(25,\), config\.json says \(24,\)",
    ),
    "dtype": (
        lambda data: serialize(random_tensors() | {"embeddings.LayerNorm.bias": np.ones(24, "i8")}),
        "has dtype I64, which is not supported",
    ),
    "absent": (
        lambda data: serialize(
            {
                ("x" if k.endswith("LayerNorm.bias") else "") + k: v
                for k, v in random_tensors().items()
            }
        ),
        r"1 key missing(.|\n)*did you mean embeddings\.LayerNorm\.bias",
    ),
    "twice": (
        lambda data: serialize(
            random_tensors() | {"bert.embeddings.LayerNorm.bias": np.ones(24, "f4")}
        ),
        "are one parameter. Fetch it whole: without only='embeddings'",
    ),
    "foreign": (
        lambda data: serialize({f"distilbert.{k}": v for k, v in random_tensors().items()}),
        "looks like DistilBERT",
    ),
}


@pytest.mark.parametrize(("change", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_refused_before_any_tensor_is_asked_for(
    change: Callable[[bytes], bytes], words: str, hub: StandInHub, tmp_path: Path
) -> None:
    data = change(serialize(random_tensors()))
    hub.add_commit(REPO, {"config.json": CONFIG, WEIGHTS: data})
    with pytest.raises(CheckpointError, match=words) as caught:
        fetch(REPO, only="embeddings")
    assert str(caught.value).startswith(f"{REPO}: {WEIGHTS}: ")
    end = min(8 + struct.unpack("<Q", data[:8])[0], len(data)) if len(data) >= 8 else len(data)
    assert all(stop <= end for _, stop in asked(hub))
    assert not (cache_of(tmp_path) / ".numpy_bert_embeddings").exists()


def sharded(tmp_path: Path, change: Callable[[dict[str, str]], None]) -> dict[str, bytes]:
    """Return a sharded checkpoint whose index was changed."""
    files = contents(write_shards(tmp_path / "sharded"))
    name = "model.safetensors.index.json"
    index = json.loads(files[name])
    change(index["weight_map"])
    return {**files, name: json.dumps(index).encode()}


def moved(weight_map: dict[str, str]) -> None:
    key = "embeddings.LayerNorm.bias"
    weight_map[key] = next(name for name in weight_map.values() if name != weight_map[key])


def lost(weight_map: dict[str, str]) -> None:
    for key in [key for key in weight_map if key.startswith("embeddings.")]:
        del weight_map[key]


def doubled(weight_map: dict[str, str]) -> None:
    for number in range(50):
        weight_map["bert." * number + "embeddings.LayerNorm.bias"] = f"{number}.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [(moved, "1 key missing"), (lost, "5 keys missing"), (doubled, "are one parameter")],
)
def test_an_index_that_lies_is_refused(
    change: Callable[[dict[str, str]], None], words: str, hub: StandInHub, tmp_path: Path
) -> None:
    hub.add_commit(REPO, sharded(tmp_path, change))
    with pytest.raises(
        CheckpointError, match=rf"^{REPO}: model\.safetensors\.index\.json: .*{words}"
    ):
        fetch(REPO, only="embeddings")
    heads = [r for r in hub.requests if r.method == "HEAD" and ".safetensors" in r.path]
    assert len(heads) <= 4


def test_only_the_shards_with_an_embedding_are_asked(hub: StandInHub, tmp_path: Path) -> None:
    tensors = random_tensors()
    names = [f"model-{i}-of-3.safetensors" for i in range(3)]
    place = {
        k: names[0] if "word" in k else names[2 if k.startswith("emb") else 1] for k in tensors
    }
    files = {n: serialize({k: tensors[k] for k in tensors if place[k] == n}) for n in names}
    index = json.dumps({"weight_map": place}).encode()
    hub.add_commit(REPO, {"config.json": CONFIG, "model.safetensors.index.json": index, **files})
    folder = fetch(REPO, only="embeddings")
    touched = {r.part["file"] for r in hub.requests if r.part["file"] in names}
    assert touched == {names[0], names[2]}
    metadata = table((folder / WEIGHTS).read_bytes())[1]["__metadata__"]
    assert [file["name"] for file in json.loads(metadata["files"])] == [names[0], names[2]]
    assert set(contents(folder)) == {"config.json", WEIGHTS, RECORD}
    # The ordinary snapshot has the index but no shard, and is not taken for whole.
    with pytest.raises(OfflineError, match=r"lacks model-0-of-3"):
        BertModel.from_pretrained(REPO, local_files_only=True)
    assert BertModel.from_pretrained(REPO).loading_info.unexpected_keys == ()


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({WEIGHTS: b"x"}, CheckpointError, "has no config.json"),
        ({"config.json": b"{}", "a.bin": b"x"}, CheckpointError, "only pickled weights"),
        ({"config.json": b'{"vocab_size": 0}', WEIGHTS: b"x"}, ConfigError, "config.json"),
    ],
)
def test_a_repository_without_a_model(
    hub: StandInHub, files: dict[str, bytes], error: type[Exception], words: str
) -> None:
    hub.add_commit(REPO, files)
    with pytest.raises(error, match=words):
        fetch(REPO, only="embeddings")
    assert asked(hub) == []


@pytest.mark.parametrize("step", ["header", "read back", "links", "hash", "record"])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    hub: StandInHub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:  # J1
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    steps = {"header": "_header", "read back": "SafetensorsFile", "links": "_repeat"}
    steps |= {"hash": "sha256", "record": "write_atomically"}
    with monkeypatch.context() as patch:
        patch.setattr(partial, steps[step], full)
        with pytest.raises(HubError, match=r"could not be stored in .*No space left.*--cache-dir"):
            fetch(REPO, only="embeddings")
    assert not list(cache_of(tmp_path).rglob("*.tmp"))
    folder = part_of(tmp_path, commit)
    assert not (folder / WEIGHTS).exists()
    assert folder.exists() == (step in ("hash", "record"))  # some links, which nobody finds
    with pytest.raises(OfflineError):
        fetch(REPO, only="embeddings", local_files_only=True)
    assert BertModel.from_pretrained(REPO, only="embeddings").config.hidden_size == 128


FULL = """
import resource, signal, sys
from numpy_bert import HubError, fetch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    fetch(sys.argv[1], only="embeddings")
except HubError as failure:
    print(failure)
"""


@posix
def test_a_disk_that_fills_up_in_the_middle(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:  # J2
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= hub_environment(hub, tmp_path / "home")
    command = [sys.executable, "-c", FULL, REPO]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.stderr == ""
    assert f"{REPO}: could not be stored in" in result.stdout
    assert "File too large" in result.stdout
    assert not part_of(tmp_path, commit).parent.exists()


def test_a_part_that_was_moved_away_is_still_one(
    hub: StandInHub, commit: str, tmp_path: Path
) -> None:
    folder = fetch(REPO, only="embeddings")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert cached_part(folder) == cached_part(copy) == cached_part(REPO) == "embeddings"
    model = BertModel.from_pretrained(copy, only="embeddings")
    assert arrays(model) == demo()
    assert {path.name for path in used_files(copy)} >= {WEIGHTS, "config.json"}


def test_a_bar_is_drawn_for_whoever_waits(
    hub: StandInHub,
    commit: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(partial, "WORTH_A_BAR", 1000)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fetch(REPO, only="embeddings")
    assert "embeddings: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "ernie", "dpr", "mpnet"])
def test_each_architecture_by_its_own_names(kind: str, hub: StandInHub, tmp_path: Path) -> None:
    sizes = {name: TINY[name] for name in ("vocab_size", "max_position_embeddings")}
    sizes |= {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 4}
    own = {"use_task_id": True} if kind == "ernie" else {}
    model = AutoModel.from_config(BertConfig(model_type=kind, **sizes, **own))
    model.save_pretrained(tmp_path / "whole")
    names = ("config.json", WEIGHTS)
    hub.add_commit(REPO, {name: (tmp_path / "whole" / name).read_bytes() for name in names})
    part = AutoModel.from_pretrained(REPO, only="embeddings")
    assert type(part) is type(model)
    assert arrays(part) == arrays(model)
    header = table((Path(part.loading_info.files[0])).read_bytes())[1]
    stored = [name for name in header if name != "__metadata__"]
    assert stored == [name for name in stored if "embeddings." in name]
    assert len(stored) == len(arrays(model))
    with pytest.raises(InputError, match="load the whole to run the encoder"):
        part([[5]])

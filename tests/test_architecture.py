"""The house plan, checked from the code's own imports."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from numpy_bert.architectures import ARCHITECTURES

PACKAGE = Path(__file__).parent.parent / "numpy_bert"

# A module imports only from floors below its own; files of one folder may use one another.
FLOORS = {
    "errors": 0,
    "reprs": 0,
    "architectures": 1,
    "arguments": 1,
    "arrays": 1,
    "config": 1,
    "extras": 1,
    "files": 1,
    "foreign": 1,
    "labels": 1,
    "locks": 1,
    "messages": 1,
    "progress": 1,
    "tables": 1,
    "folder_lock": 2,
    "identity": 2,
    "parameters": 2,
    "inputs": 3,
    "ops": 3,
    "kernels": 4,
    "loading": 3,
    "text": 4,
    "blocks": 4,
    "trace": 5,
    "tasks": 5,
    "model": 6,
    "encoding": 7,
    "traces": 7,
    "comparison": 8,
    "corpora": 8,
    "explain": 8,
    "integrations": 8,
    "serving": 8,
    "training": 8,
    "verification": 9,
    "cli": 10,
    "testing": 10,
    "pytest_plugin": 11,
}
# Files of floor 1 may use messages.py, which knows nobody, and files.py, which knows that one
# and locks.py.
# One goes upstairs when it is called: BertConfig.from_pretrained finds a folder by its name.
ALLOWED = {
    ("arguments", "messages"),
    ("arrays", "messages"),
    ("config", "architectures"),
    ("config", "files"),
    ("config", "labels"),
    ("config", "loading"),
    ("config", "messages"),
    ("files", "locks"),
    ("files", "messages"),
    ("foreign", "messages"),
    ("labels", "messages"),
    ("tables", "messages"),
}
# The front door and `python -m` stand outside the house.
DOORS = {"__init__", "__main__"}
RUNTIME = {"numpy", "safetensors", "huggingface_hub", "tokenizers"}
# Optional packages, each in the one file that may import it.
EXTRAS = {
    "corpora/parquet.py": {"pyarrow"},
    "explain/drawing.py": {"resvg_py"},
    "integrations/dask.py": {"dask", "pandas"},
    "integrations/frames.py": {"pandas"},
    "kernels/threads.py": {"threadpoolctl"},
    "pytest_plugin.py": {"pytest"},
    "serving/app.py": {"starlette"},
    "serving/protocol.py": {"uvicorn"},
    "serving/server.py": {"uvicorn"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


class Said(NamedTuple):
    """What a file says, wherever in it."""

    imports: set[str]  # dotted names
    lengths: dict[str, int]  # of functions, without their docstrings
    prints: bool


@cache
def said(path: Path) -> Said:
    """Read a file once for all tests."""
    found = Said(set(), {}, False)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.imports.add(str(node.module))
        elif isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if node.end_lineno and body else 0
            found.lengths[f"{node.name} in line {node.lineno}"] = length
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found = found._replace(prints=found.prints or node.func.id == "print")
    return found


def house_edges(path: Path) -> set[str]:
    """Return the rooms that a file imports from."""
    own = {name for name in said(path).imports if name.split(".")[0] == "numpy_bert"}
    return {name.split(".")[1] for name in own if name != "numpy_bert"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_come_from_lower_floors(path: Path) -> None:
    here = room(path)
    if here in DOORS:
        return
    for there in house_edges(path) - {here}:
        lower = FLOORS[there] < FLOORS[here]
        assert lower or (here, there) in ALLOWED, f"{here} imports {there}"


def test_every_room_is_on_the_plan() -> None:
    rooms = {room(path) for path in modules()} - DOORS - {"demo"}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("folder", [p.parent for p in PACKAGE.glob("*/**/__init__.py")])
def test_no_circle_within_a_folder(folder: Path) -> None:
    edges: dict[str, set[str]] = {}
    prefix = ".".join(("numpy_bert", *folder.relative_to(PACKAGE).parts)) + "."
    for path in folder.rglob("*.py"):
        here = path.relative_to(folder).parts[0].removesuffix(".py")  # a folder in it is one room
        edges.setdefault(here, set()).update(
            {
                name.removeprefix(prefix).split(".")[0]
                for name in said(path).imports
                if name.startswith(prefix)
            }
            - {here}
        )
    done: set[str] = set()
    while edges:
        free = {name for name, needs in edges.items() if needs <= done}
        assert free, f"{folder.name}: a circle among {sorted(edges)}"
        done |= free
        edges = {name: needs for name, needs in edges.items() if name not in free}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_arithmetic_names_no_architecture(path: Path) -> None:
    """It sees numbers, arrays that are there or not, and names of activations."""
    if room(path) not in ("ops", "blocks", "kernels"):
        return
    entries = [entry for entry in ARCHITECTURES.values() if entry.model_type != "bert"]
    names = {name.lower() for e in entries for name in (e.model_type, e.name, e.classes)}
    words = {*re.findall(r"[a-z0-9-]+", path.read_text("utf-8").lower())}
    parts = {part for word in words for part in word.split("-")}
    assert not names & (words | parts)
    assert not {"architecture", "model_type"} & {*re.findall(r"\.(\w+)", path.read_text("utf-8"))}
    assert "architectures" not in house_edges(path)


def test_the_requirements_are_the_four_and_bounded_where_the_next_version_breaks() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {Requirement(text).name: text for text in project["dependencies"]}
    assert set(needed) == RUNTIME
    allowed = Requirement(needed["tokenizers"]).specifier
    versions = ("0.22.0", "0.22.1", "0.23.3", "0.24.0rc1", "1.0.0rc3", "1.0.0", "1.1.0")
    found = [version for version in versions if allowed.contains(version, prereleases=True)]
    assert found == ["0.22.1", "0.23.3", "0.24.0rc1"]
    for text in needed.values():  # the pins of scripts/check lowest
        lowest = next(part.version for part in Requirement(text).specifier if part.operator == ">=")
        pinned = Requirement(text.replace(">=", "==")).specifier
        assert pinned.contains(lowest)
        assert not pinned.contains(f"{lowest}.1")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_party_imports_are_the_four(path: Path) -> None:
    outside = {name.split(".")[0] for name in said(path).imports}
    extra = EXTRAS.get(path.relative_to(PACKAGE).as_posix(), set())
    assert outside <= set(sys.stdlib_module_names) | RUNTIME | {"numpy_bert"} | extra


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_function_can_be_held_in_the_head(path: Path) -> None:
    for name, length in said(path).lengths.items():
        assert length <= 45, f"{name} has {length} lines"


def test_only_the_command_line_prints() -> None:
    assert not [path for path in modules() if room(path) != "cli" and said(path).prints]


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the names of the modules it left loaded."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


HEAVY = {"torch", "transformers", "huggingface_hub", "tokenizers"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import numpy_bert")
    assert not loaded & (HEAVY | {"numpy", "safetensors"})


def test_a_model_needs_neither_tokenizers_nor_the_hub_client() -> None:
    code = "from numpy_bert import BertModel; BertModel.from_pretrained('demo').embeddings([[1]])"
    assert not loaded_after(code) & HEAVY


def test_a_head_called_with_ids_needs_neither() -> None:
    code = "from numpy_bert import BertForMaskedLM as M; M.from_pretrained('demo')([[2, 5, 3]])"
    assert not loaded_after(code) & HEAVY


def test_a_tokenizer_needs_no_hub_client() -> None:
    code = "from numpy_bert import BertTokenizer; BertTokenizer.from_pretrained('demo')('a')"
    assert loaded_after(code) & HEAVY == {"tokenizers"}


def test_an_encoder_needs_no_code_of_training() -> None:
    code = "from numpy_bert import SentenceEncoder; SentenceEncoder('demo').encode(['a'])"
    loaded = loaded_after(code)
    assert "numpy_bert.encoding.sentence_encoder" in loaded
    assert not {f"numpy_bert.{name}" for name in ("model.gradients", "kernels.training")} & loaded


def test_the_front_door_is_sorted_and_opens() -> None:
    import numpy_bert

    assert numpy_bert.__all__ == sorted(numpy_bert.__all__)
    for name in numpy_bert.__all__:
        assert getattr(numpy_bert, name).__name__ == name
    assert set(numpy_bert.__all__) <= set(dir(numpy_bert))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = numpy_bert.nothing

"""scripts/build_package.py: what it says of a package that holds too much or too little."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from build_package import complaints, disguised, files_of

SETTINGS = """
[tool.hatch.build.targets.wheel]
packages = ["bert"]
[tool.hatch.build.targets.sdist]
include = ["/bert", "/README.md", "/.ci/run"]
"""
SOURCES = ["bert/__init__.py", "bert/demo/model.bin", "README.md", ".ci/run"]
LEFT = ["bert/__pycache__/__init__.cpython-311.pyc", "bert/.mypy_cache/x.json"]
ABOUT = ["METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in [*SOURCES, *LEFT, ".venv/lib/numpy.py"]:
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "sources" / "pyproject.toml").write_text(SETTINGS)
    return tmp_path / "sources"


def pack(folder: Path, in_sdist: list[str], in_wheel: list[str]) -> tuple[Path, Path]:
    sdist, wheel = folder / "bert-1.tar.gz", folder / "bert-1-py3-none-any.whl"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in [*in_sdist, "PKG-INFO", "pyproject.toml", ".gitignore"]:
            archive.addfile(tarfile.TarInfo(f"bert-1/{name}"), io.BytesIO())
    with zipfile.ZipFile(wheel, "w") as zipped:
        for name in [*in_wheel, *(f"bert-1.dist-info/{file}" for file in ABOUT)]:
            zipped.writestr(name, "")
    return sdist, wheel


def test_a_package_with_every_file_and_no_other_is_right(sources: Path, tmp_path: Path) -> None:
    assert complaints(sources, *pack(tmp_path, SOURCES, SOURCES[:2])) == []


def test_what_is_missing_and_what_should_not_be_there_is_named(
    sources: Path, tmp_path: Path
) -> None:
    sdist, wheel = pack(tmp_path, [*SOURCES[1:], LEFT[0]], [SOURCES[0], "tests/x.py"])
    assert complaints(sources, sdist, wheel) == [
        f"bert-1.tar.gz: must not hold {LEFT[0]}",
        "bert-1.tar.gz: lacks bert/__init__.py",
        "bert-1-py3-none-any.whl: must not hold tests/x.py",
        "bert-1-py3-none-any.whl: lacks bert/demo/model.bin",
    ]


def test_the_copy_has_the_same_files_at_another_time(sources: Path, tmp_path: Path) -> None:
    copy = disguised(sources, tmp_path / "copy")
    names = [*SOURCES, "pyproject.toml"]
    assert files_of(copy, ["."]) == files_of(sources, ["."]) == set(names)
    for name in names:
        assert (copy / name).read_bytes() == (sources / name).read_bytes()
        assert (copy / name).stat().st_mtime == 1e9
        assert (sources / name).stat().st_mtime > 1e9
    assert not (copy / ".venv").exists()

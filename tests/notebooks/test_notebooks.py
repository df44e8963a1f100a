"""The notebooks: run from top to bottom without network, and what is stored in them is that."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
NAMES = ("input_embedding", "reading_bert")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]\d+)?")

spec = importlib.util.spec_from_file_location("run_notebooks", SCRIPTS / "run_notebooks.py")
assert spec is not None
assert spec.loader is not None
run_notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_notebooks)


def stored(name: str) -> Any:
    return nbformat.read(SCRIPTS / f"{name}.ipynb", as_version=4)


def outputs(notebook: Any) -> dict[str, list[str]]:
    """Return what each cell printed and showed."""
    return {
        cell.id: [
            output["text"]
            if output.output_type == "stream"
            else str(sorted(output["data"].items()))
            for output in cell.outputs
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def same_but_for_rounding(one: str, other: str) -> bool:
    """Tell whether two outputs have the same words, and numbers that differ by rounding at most."""
    numbers = [[float(x) for x in NUMBER.findall(text)] for text in (one, other)]
    words = [NUMBER.sub("0", text).split() for text in (one, other)]
    return words == [words[0]] * 2 and numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_gives_what_is_stored(
    name: str, cached_minilm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")
    found = run_notebooks.executed(SCRIPTS / f"{name}.ipynb")
    fresh, kept = outputs(found), outputs(stored(name))
    assert list(fresh) == list(kept)
    for cell, texts in fresh.items():
        assert len(texts) == len(kept[cell]), cell
        for text, before in zip(texts, kept[cell], strict=True):
            assert same_but_for_rounding(text, before), (cell, text, before)
    streams = [o for c in found.cells for o in c.get("outputs", []) if o.output_type == "stream"]
    assert all(output["name"] == "stdout" for output in streams)


def test_what_a_cell_prints_is_one_output_in_however_many_pieces_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    source = "import time\nprint('one', flush=True)\ntime.sleep(0.5)\nprint('two')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "slow.ipynb")
    (cell,) = run_notebooks.executed(tmp_path / "slow.ipynb").cells
    assert [output["text"] for output in cell.outputs] == ["one\ntwo\n"]


def test_the_worked_example_ends_with_its_picture() -> None:
    notebook = stored("input_embedding")
    assert "<svg" in notebook.cells[-1].outputs[0]["data"]["image/svg+xml"]


def test_it_has_the_names_of_the_notebook_that_it_follows(data: Path) -> None:
    original = nbformat.read(data / "original_notebook.ipynb", as_version=4)
    source = "\n".join(c.source for c in original.cells if c.cell_type == "code")
    ours = "\n".join(c.source for c in stored("input_embedding").cells if c.cell_type == "code")
    torch_calls = {
        "return_tensors='pt'": 'return_tensors="np"',
        "torch.arange": "np.arange",
        "pos_embed.unsqueeze(0)": "pos_embed[np.newaxis]",
    }
    for theirs, mine in torch_calls.items():
        source = source.replace(theirs, mine)
    lines = re.findall(r"^(?:test_sent|input|token_|seg_|pos_|embed).*", source, re.M)
    assert len(lines) > 15
    for line in lines:
        assert line.replace("'", '"') in ours, line


def test_reading_bert_has_thirty_cells_each_result_checked() -> None:
    notebook = stored("reading_bert")
    assert len(notebook.cells) == 30
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("check(" in cell.source for cell in code) >= 13
    names = re.findall(r'check\(f?"([^"]+)"', "\n".join(cell.source for cell in code))
    assert len(set(names)) >= 25
    printed = "\n".join(text for texts in outputs(notebook).values() for text in texts)
    differences = [float(x) for x in re.findall(r"largest difference (\S+)", printed)]
    assert len(differences) >= 28
    assert max(differences) <= 1e-12


def test_reading_bert_follows_the_page_section_by_section() -> None:
    page = (SCRIPTS / "bert_on_a_page.py").read_text("utf-8")
    notebook = stored("reading_bert")
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    sections = re.findall(r"^# (.+)$", page, re.M)
    assert len(sections) == 4
    assert re.findall(r"^## (.+)$", text, re.M)[1:] == sections
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    embedding = ("words", "types", "places", "embedded")
    encoder = ("q, k, v", "scores", "context", "attended", "dense", "hidden", "activated")
    for name in (*embedding, *encoder, "vector", "logits"):
        for source in (page, code):
            assert re.search(rf"^(?: |\w+ = )*{name} = ", source, re.M), name


@pytest.mark.parametrize("name", NAMES)
def test_it_is_stored_as_it_was_run_from_top_to_bottom(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    text = (SCRIPTS / f"{name}.ipynb").read_text("utf-8")
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    assert '"iopub.' not in text


def test_progress_is_shown_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "import numpy_bert\n"
                "encoder = numpy_bert.SentenceEncoder.from_pretrained('demo')\n"
                "encoder.encode(['It is warm.', 'It rains.'], show_progress_bar=True).shape"
            )
        ]
    )
    nbformat.write(notebook, tmp_path / "progress.ipynb")
    (shown,) = outputs(run_notebooks.executed(tmp_path / "progress.ipynb")).values()
    assert len(shown) == 2  # the bar and the shape, and no warning that a widget is missing
    bar = "progress" if importlib.util.find_spec("ipywidgets") else r"encoding: 100%\|.*2/2 texts\]"
    assert re.search(bar, shown[0], re.I)
    assert "(2, 384)" in shown[1]

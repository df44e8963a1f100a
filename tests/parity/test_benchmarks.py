"""The benchmarks run, their contenders agree, and what they print of memory stays in its bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertConfig, BertModel, SentenceEncoder
from numpy_bert.loading.cache import demo_folder
from numpy_bert.model.embeddings import BertEmbeddings
from tests.support.platforms import linux, posix

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ROOT / "scripts"
# Those that print seconds or memory; what else is in the folder makes, shows or helps.
MEASURING = [
    *(path.name for path in SCRIPTS.glob("bench_*.py") if "parse_args" in path.read_text("utf-8")),
    "report_classifier.py",
]


@pytest.fixture
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test import the scripts."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


def run(script: str, *arguments: str) -> list[list[str]]:
    """Run a script and return the words of each line that it prints."""
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def measured(script: str, *arguments: str) -> list[list[str]]:
    """Run a script, and return the lines below the empty one that ends what the machine is."""
    lines = run(script, *arguments)
    assert lines.index([]) >= 1
    return lines[lines.index([]) + 1 :]


def test_every_script_that_measures_names_the_machine() -> None:
    assert len(MEASURING) > 12
    for name in MEASURING:
        assert "    print_machine(" in (SCRIPTS / name).read_text("utf-8"), name


@pytest.mark.usefixtures("_scripts")
def test_the_machine_stands_above_an_empty_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench_machine

    monkeypatch.setattr(numpy_bert, "tuning", lambda: "a processor\na kernel", raising=False)
    bench_machine.print_machine("numpy", "tokenizers")
    *lines, rivals, empty = capsys.readouterr().out.split("\n")[:-1]
    assert lines == ["a processor", "a kernel"]
    assert rivals.startswith(f"beside numpy {np.__version__}, tokenizers ")
    assert empty == ""


@pytest.mark.usefixtures("_scripts")
def test_the_lowest_cosine_is_that_of_the_worst_row() -> None:
    from bench_encode import lowest_cosine

    a = np.array([[1, 0], [3, 4], [2, 2]], np.float32)
    b = np.array([[5, 0], [4, 3], [1, 1]], np.float32)
    assert lowest_cosine(a, b) == pytest.approx(24 / 25)
    assert lowest_cosine(a, a) == pytest.approx(1)


@pytest.mark.usefixtures("_scripts")
def test_a_random_model_is_of_its_size_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_rivals

    monkeypatch.setitem(bench_rivals.SIZES, "tiny", (2, 24, 4, 37))
    model = BertModel.from_pretrained(bench_rivals.random_model("tiny", demo_folder(), tmp_path))
    encoder = model.parameters.encoder
    assert encoder is not None
    assert len(encoder.layer) == 2
    assert encoder.layer[1].intermediate.dense.weight.shape == (37, 24)
    assert float(encoder.layer[0].output.LayerNorm.weight.mean()) == pytest.approx(1, abs=0.02)
    assert float(encoder.layer[0].output.dense.weight.std()) == pytest.approx(0.02, rel=0.2)


@pytest.mark.usefixtures("_scripts")
def test_what_is_left_out_is_counted_in_operations() -> None:
    """A layer's products, by hand: four of H x H, scores and sums, and the two wide ones."""
    from bench_sizes import tera_operations

    config = BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=16,
        type_vocab_size=2,
    )
    texts, tokens = 2, 5
    one_text = 4 * tokens * 8 * 8 + 2 * tokens * tokens * 8 + 2 * tokens * 8 * 20
    assert tera_operations(config, texts, tokens) == pytest.approx(3 * texts * one_text * 2e-12)


@pytest.mark.usefixtures("_scripts")
@pytest.mark.parametrize(
    ("flags", "kernels"),
    [
        ("pni sse4_2", ["Prescott", "Nehalem"]),
        ("pni sse4_2 avx avx2 fma", ["Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen"]),
        ("pni sse4_2 avx avx2", ["Prescott", "Nehalem", "Sandybridge"]),
        ("avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl", ["Haswell", "Zen", "SkylakeX"]),
        ("", []),
    ],
)
def test_a_kernel_is_tried_where_the_processor_has_what_it_needs(
    flags: str, kernels: list[str]
) -> None:
    from bench_processors import KERNELS, missing_flags

    assert [name for name in KERNELS if not missing_flags(name, flags.split())] == kernels
    assert missing_flags("Haswell", {"avx2"}) == ["fma"]


@pytest.mark.usefixtures("_scripts")
@pytest.mark.parametrize(
    ("kernel", "features", "off"),
    [
        ("Nehalem", ["X86_V3", "X86_V4"], "X86_V3 X86_V4"),  # the names since NumPy 2.4
        ("Haswell", ["X86_V3", "X86_V4", "AVX512_ICL"], "X86_V4 AVX512_ICL"),
        ("Sandybridge", ["SSSE3", "AVX", "F16C", "FMA3", "AVX2"], "F16C FMA3 AVX2"),
        ("Prescott", ["SSSE3", "AVX"], "SSSE3 AVX"),
        ("SkylakeX", ["AVX2", "AVX512F", "AVX512_SKX"], None),
        ("Haswell", ["X86_V3"], None),
    ],
)
def test_numpys_own_loops_are_held_to_the_kernels_generation(
    kernel: str, features: list[str], off: str | None
) -> None:
    from bench_processors import settings

    assert settings(kernel, features, "").get("NPY_DISABLE_CPU_FEATURES") == off


@pytest.mark.usefixtures("_scripts")
def test_torch_is_held_to_the_kernels_generation() -> None:
    from bench_processors import settings

    assert settings("Haswell", [], "AuthenticAMD") == {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    assert settings("Nehalem", [], "AuthenticAMD")["MKL_CBWR"] == "COMPATIBLE"
    assert "MKL_CBWR" not in settings("Nehalem", [], "GenuineIntel")


@pytest.mark.usefixtures("_scripts")
@pytest.mark.parametrize(
    ("numpy", "torch", "held"),
    [(0.3, 0.28, True), (0.2, 0.3, True), (0.78, 1.0, False), (1.0, 1.02, True), (0.5, 0.9, False)],
)
def test_torch_was_held_where_its_product_slowed_down(
    numpy: float, torch: float, held: bool
) -> None:
    from bench_processors import is_held

    assert is_held(numpy, torch) is held


@pytest.mark.usefixtures("_scripts")
def test_the_verdict_says_what_is_slower_and_what_cannot_be_compared() -> None:
    from bench_processors import Found, verdict

    native = Found({"numpy": 80.0, "torch": 90.0}, {}, {}, {})
    ratios = {"encode": 1.2, "embedding": 0.99}, {"encode": 1.4, "embedding": 0.8}
    found = Found({"numpy": 20.0, "torch": 30.0}, {}, *ratios)
    assert verdict("Nehalem", found, native) == (
        "Nehalem: no slower than the plain product (encode 1.20, embedding 0.99); "
        "SLOWER than torch (encode 1.40, embedding 0.80)"
    )
    found = Found({"numpy": 60.0, "torch": 90.0}, {}, *ratios, is_plain=True)
    assert verdict("Sandybridge", found, native) == (
        "Sandybridge: the choices are the plain product's; "
        "torch is not comparable: it keeps 100% of its speed"
    )


@pytest.mark.usefixtures("_scripts")
def test_who_chose_is_no_part_of_the_choices() -> None:
    from bench_processors import choices

    tuned = "NumPy 2\nnumpy_bert 1; choices: the plain ones\n  products one call"
    plain = "NumPy 2\nnumpy_bert 1; choices: NUMPY_BERT_TUNING\n  products one call"
    assert choices(tuned) == choices(plain)
    assert choices(tuned) != choices(plain.replace("one call", "pieces"))


@pytest.mark.usefixtures("_scripts")
@pytest.mark.parametrize("mixed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_embedding_is_that_of_torch_onnx_runtime_and_naive_numpy(
    mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the benchmark's script holds before it measures."""
    import bench_embeddings as bench

    monkeypatch.setattr(bench, "TURN", 1e-3)
    parameters = bench.random_parameters(np.random.default_rng(0))
    rivals = (
        bench.Torch(parameters, 1),
        bench.OnnxRuntime(parameters, 1),
        bench.Naive(parameters),
    )
    ours = BertEmbeddings(parameters, bench.CONFIG)
    found = bench.compare(ours, rivals, "2x5", mixed, 1, 1)
    assert found.keys() >= {"torch", "ORT", "naive"}


@pytest.mark.slow
def test_the_embedding_against_torch_onnx_runtime_and_naive_numpy() -> None:
    """The script itself holds the results of all contenders against one another."""
    lines = measured("bench_embeddings.py", "--shapes", "1x7", "2x5", "--rounds", "2")
    tables = [number for number, line in enumerate(lines) if line[1:2] == ["thread,"]]
    assert len(tables) == 1
    shapes = [line[:2] for line in lines if line and "x" in line[0]]
    expected = [[shape, kind] for shape in ("1x7", "2x5") for kind in ("one", "mixed")]
    assert shapes == expected * 2  # with one thread and with two
    means = [line for line in lines if line[:2] == ["geometric", "mean"]]
    assert all(float(ratio) > 0 for line in means for ratio in line[2:])


@pytest.mark.slow
def test_whole_processes_to_the_first_embedding(minilm: Path) -> None:
    lines = measured("bench_startup.py", str(minilm), "--runs", "1")
    assert [line[0] for line in lines[:4]] == ["numpy_bert", "ONNX", "ORT,", "torch"]
    assert [line[0] for line in lines[5:]] == ["import", "import", "..."]


@pytest.mark.slow
def test_what_each_output_costs(minilm: Path) -> None:
    """Bounds with room for a noisy machine: 1.5 for a loss and 3 for attentions are promised."""
    lines = measured("bench_outputs.py", str(minilm), "--rounds", "5", "--layers", "2")
    times = [(line[:-2], float(line[-2])) for line in lines if line[-1:] == ["times"]]
    assert len(times) == 16
    for name, ratio in times:
        most = {"output_attentions=True": 4.0, "one": 0.9, "decode": 0.9}.get(name[0], 2.0)
        assert 0 < ratio < most, name
    megabytes = {line[-5]: float(line[-4]) for line in lines if line[-3:] == ["MB", "at", "most"]}
    assert megabytes["float64:"] < 12 * megabytes["float32:"]


@pytest.mark.slow
@linux
def test_one_sentence_takes_at_most_15_mb_beyond_the_imports(minilm: Path) -> None:
    lines = measured("bench_memory.py", str(minilm), "--runs", "3", "--programs", "numpy_bert")
    assert [line[0] for line in lines] == ["peak,", "numpy_bert"]
    assert 0 < float(lines[1][-1]) <= 15


@pytest.mark.slow
def test_texts_into_vectors_against_all_rivals(minilm: Path, data: Path) -> None:
    """The script itself holds the vectors of all contenders against one another."""
    few = ("--texts", "12", "--rounds", "1", "--data", str(data))
    lines = measured("bench_encode.py", str(minilm), *few)
    assert lines[0][:2] == ["12", "texts"]
    for threads in ("1", "2"):
        at = next(n for n, line in enumerate(lines) if line[:1] == [threads] and len(line) == 2)
        names = [line[: line.index("s") - 1] for line in lines[at + 1 : at + 9] if "s" in line]
        assert names[:5] == [
            [name] for name in ("numpy_bert", "sentence-transformers", "torch")
        ] + [
            ["ONNX", "Runtime"],
            ["OpenVINO"],
        ]
        lossy = [" ".join(name) for name in names[5:-1]]
        assert lossy in (["ONNX Runtime int8"], ["ONNX Runtime int8", "OpenVINO bfloat16"])
        assert names[-1] == ["matrix", "products"]
        cosines = [float(line[-1]) for line in lines[at + 1 : at + 9] if "cosine" in line]
        assert len(cosines) == len(lossy)
        assert all(0.8 < cosine < 1 for cosine in cosines)


@pytest.mark.slow
def test_texts_into_vectors_without_the_extra(minilm: Path, data: Path) -> None:
    few = ("--texts", "6", "--rounds", "1", "--threads", "2", "--data", str(data))
    lines = measured("bench_encode.py", str(minilm), *few, "--without-threadpoolctl")
    assert lines[0] == ["threadpoolctl", "is", "kept", "from", "numpy_bert"]
    assert ["2", "threads"] in lines


@pytest.mark.slow
def test_one_text_against_torch_onnx_runtime_and_openvino(minilm: Path) -> None:
    few = ("--tokens", "8", "20", "--rounds", "1", "--threads", "1")
    lines = measured("bench_latency.py", str(minilm), *few)
    assert [line[0] for line in lines[1:4]] == ["tokens", "8", "20"]
    assert all(float(ratio) > 0 for line in lines[2:4] for ratio in line[3:])
    assert [len(line) for line in lines[2:4]] == [6, 6]


@pytest.mark.slow
@linux
def test_sizes_are_measured_in_seconds_and_in_memory(minilm: Path) -> None:
    """MiniLM's own row, and a row that says what was left out."""
    few = ("--sizes", "minilm", "--tokens", "8", "--texts", "1", "2", "--rounds", "1")
    lines = measured("bench_sizes.py", str(minilm), *few, "--most", "2e-4")
    assert lines[0][:3] == ["minilm,", "2", "threads:"]
    texts, tokens, seconds, unit, *ratios = lines[2][: lines[2].index("|")]
    assert (texts, tokens, unit, len(ratios)) == ("1", "8", "s", 3)
    assert all(float(number) > 0 for number in (seconds, *ratios))
    peaks = [int(number) for number in lines[2][lines[2].index("|") + 1 :]]
    assert len(peaks) == 4
    assert 40 < peaks[0] < peaks[1]  # numpy_bert, torch
    assert lines[3][:4] == ["2", "8", "left", "out:"]


@pytest.mark.slow
@linux
def test_other_processors_are_played(minilm: Path, data: Path) -> None:
    few = ("--texts", "6", "--shapes", "1x7", "--rounds", "1", "--turns", "1")
    which = ("--kernels", "Nehalem", "--data", str(data))
    lines = measured("bench_processors.py", str(minilm), *few, *which)
    assert lines[0] == ["as", "it", "is"]
    rows = [line for line in lines if line[:1] in (["encode"], ["embedding"])]
    assert all(float(number) > 0 for line in rows for number in (line[1], *line[3:]))
    assert len(rows) == (2 if "not run" in " ".join(lines[-1]) else 4)
    assert lines[-2][:3] == ["as", "it", "is:"]
    assert lines[-1][0] == "Nehalem:"


@pytest.mark.slow
@linux
def test_a_corpus_stays_within_its_memory(minilm: Path, data: Path) -> None:
    """4,000 texts here, in one block; what a million takes is not more."""
    few = ("--texts", "4000", "--kills", "1", "--data", str(data))
    lines = measured("bench_corpus.py", str(minilm), *few)
    assert 0 < int(lines[1][-2]) <= 450
    assert lines[-1] == ["the", "bytes", "are", "the", "same"]


@pytest.mark.slow
@linux
def test_a_search_is_timed_and_needs_little_memory(minilm: Path, data: Path) -> None:
    """20,000 vectors here, which are 31 MB in float32."""
    few = ("--vectors", "20000", "--distinct", "300", "--rounds", "1", "--data", str(data))
    lines = measured("bench_search.py", str(minilm), *few)
    times = [line for line in lines if line[:2] in (["|", "1"], ["|", "10"], ["|", "100"])]
    assert len(times) == 9
    assert all(float(line[3]) > 0 for line in times)
    grown = [
        float(line[line.index("after") - 2]) - float(line[2])
        for line in lines
        if line[1:2] == ["queries:"]
    ]
    assert len(grown) == 9
    assert max(grown) < 30


@pytest.mark.slow
@linux
def test_a_service_beside_the_same_on_sentence_transformers(minilm: Path, data: Path) -> None:
    few = ("--texts", "48", "--rounds", "1", "--seconds", "1", "--data", str(data))
    lines = measured("bench_serve.py", str(minilm), *few, "--only", "batch", "single")
    rates = [float(line[1]) for line in lines if line[:1] in (["encode"], ["served"])]
    assert len(rates) == 2
    assert rates[1] > rates[0] / 2  # 0.85 is promised, on a machine without others
    names = ["numpy_bert", "sentence-transformers", "the"]
    rows = [line for line in lines if line[:1] in (["1"], ["8"], ["64"]) and line[1] in names]
    assert [row[1] for row in rows] == names * 3
    assert all(float(number) > 0 for row in rows for number in row[-3:])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "budget"), [("float32", 1e-3), ("float64", 1e-8)])
def test_the_curve_of_a_training_against_torchs(
    dtype: str, budget: float, minilm: Path, data: Path, tmp_path: Path
) -> None:
    few = ("--steps", "10", "--batch-size", "4", "--dtype", dtype, "--svg", str(tmp_path / "c.svg"))
    lines = measured("report_training.py", str(minilm), str(data / "sts" / "stsb-en-dev.csv"), *few)
    assert lines[0][:2] == ["step", "1"]
    assert lines[0][3] != lines[1][3]  # it moves
    assert lines[-1][:2] == [f"{dtype}:", "10"]
    assert float(lines[-1][-2]) <= budget
    assert (tmp_path / "c.svg").read_text("utf-8").count("<polyline") == 2


@pytest.mark.slow
@linux
def test_a_training_step_takes_at_most_a_fifth_more_memory_than_torchs(minilm: Path) -> None:
    (line,) = measured("bench_training.py", str(minilm), "--memory")
    assert 0 < float(line[-3]) <= 1.2


@pytest.mark.slow
@posix
def test_training_on_pairs_has_the_losses_of_sentence_transformers(
    minilm: Path, tmp_path: Path
) -> None:
    rows = [f"a cat {n},a kitten {n},{n % 3 + 2.5}\n" for n in range(24)]
    (tmp_path / "stsb.csv").write_text("".join(rows))
    options = ["--steps", "4", "--batch-size", "4", "--dtype", "float64"]
    lines = measured("bench_pairs.py", str(minilm), str(tmp_path / "stsb.csv"), *options)
    apart = [float(line[-2]) for line in lines if line[0] == "losses"]
    assert len(apart) == 3
    assert max(apart) < 1e-6  # a cosine's scores are made float32 there


@pytest.mark.usefixtures("_scripts")
def test_what_is_installed_is_counted(tmp_path: Path) -> None:
    from bench_deployment import installed_size

    packages = tmp_path / "lib" / "python3" / "site-packages"
    for name, size in {"a/b.py": 7, "c.py": 2}.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(bytes(size * 1000))
    assert installed_size(tmp_path / "bin" / "python") == pytest.approx(0.009)


@pytest.mark.usefixtures("_scripts")
def test_two_models_are_alike_where_they_order_pairs_alike() -> None:
    from bench_deployment import likeness

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((9, 6)).astype(np.float32)
    turned, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    assert likeness(3 * vectors @ turned.astype(np.float32), vectors) == pytest.approx(1)
    assert abs(likeness(vectors[::-1], vectors)) < 0.5


@pytest.mark.usefixtures("_scripts")
def test_other_vectors_end_the_benchmark_but_another_models(tmp_path: Path) -> None:
    from bench_deployment import hold

    ours = np.zeros((3, 4), np.float32)
    for name, more in {"numpy_bert": 0, "fastembed": 1e-5, "onnxruntime": 3e-5}.items():
        np.save(tmp_path / f"{name}.npy", ours + np.float32(more))
    np.save(tmp_path / "model2vec.npy", ours[:, :2] + 1)
    hold(["numpy_bert", "fastembed", "model2vec"], tmp_path)
    with pytest.raises(SystemExit, match=r"vectors of onnxruntime are 3.* from numpy_bert"):
        hold(["numpy_bert", "fastembed", "onnxruntime"], tmp_path)


@linux
@pytest.mark.usefixtures("_scripts")
def test_a_contender_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    import bench_deployment as bench

    texts = ["The sun is shining.", "He drives a car."]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    given = (Path(sys.executable), "numpy_bert", demo_folder(), 1)
    save = str(tmp_path / "vectors.npy")
    ran = bench.run(*given, texts=str(tmp_path / "texts.json"), save=save)
    assert ran.found.keys() == {"import", "first peak", "rate", "peak"}
    assert 0 < ran.found["import"] < ran.first
    assert 20 < ran.found["first peak"] <= ran.found["peak"]
    ours = SentenceEncoder("demo").encode(texts)
    assert np.allclose(np.load(tmp_path / "vectors.npy"), ours, atol=1e-6)
    seconds, lines = bench.timed(bench.handler_command(Path(sys.executable)), 1)
    assert seconds > 0
    (vector,) = json.loads(lines[0])["vectors"]
    assert np.allclose(vector, ours[0], atol=1e-6)


@linux
@pytest.mark.slow
@pytest.mark.usefixtures("_scripts")
def test_contenders_are_deployed_in_turn(
    minilm: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those that the extras bring, in this environment in the place of theirs."""
    import bench_deployment as bench

    few = ["--texts", "12", "--rounds", "1", "--data", str(data), "--keep", str(tmp_path)]
    names = ["numpy_bert", "onnxruntime"]
    monkeypatch.setattr(sys, "argv", ["bench", str(minilm), *few, "--contenders", *names])
    monkeypatch.setattr(bench, "environment", lambda *_: Path(sys.executable))
    monkeypatch.setattr(bench, "installed_size", lambda _: 5.0)
    bench.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: line[1:] for line in lines if line[1:3] == ["5", "MB"]}
    assert list(rows) == names
    for row in rows.values():
        assert [float(cell.removesuffix("/s")) > 0 for cell in row if cell[0].isdigit()] == [
            True
        ] * 7
    assert lines[-1][:4] == ["the", "handler", "of", "encoding/RECIPES.md,"]
    assert float(lines[-1][-2]) > 0


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    "script",
    MEASURING,
)
def test_help_says_what_is_measured(script: str) -> None:
    assert run(script, "--help")[0][0] == "usage:"

"""K: one model for many threads and processes, files that go away, and tight limits."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_bert
from numpy_bert import BertModel, BertTokenizer, CheckpointError, SentenceEncoder, set_num_threads
from numpy_bert.kernels import threads
from numpy_bert.kernels.threads import one_blas_thread
from numpy_bert.loading.cache import demo_folder
from numpy_bert.model import packed
from numpy_bert.parameters import arrays_of
from tests.support.arrays import far
from tests.support.checkpoints import random_tensors, write_checkpoint
from tests.support.platforms import linux, posix
from tests.tolerances import ACROSS_BATCHES

ROOT = Path(__file__).parent.parent.parent
TEXTS = ["The sun is shining.", "He drives a car.", "", "one two three " * 30] * 4
IDS = np.arange(3 * 11).reshape(3, 11) + 5


@pytest.mark.usefixtures("threads")
def test_k3_eight_threads_get_what_each_would_get_alone() -> None:
    """Where BLAS cannot be held to one thread, products may differ by roundings."""
    set_num_threads(2)
    model, encoder = BertModel.from_pretrained("demo"), SentenceEncoder("demo")
    tokenizer = BertTokenizer.from_pretrained("demo")
    calls: list[Any] = [
        lambda: model.embeddings(IDS),
        lambda: model(IDS).last_hidden_state,
        lambda: model.steps(IDS).encoder.output,
        lambda: encoder.encode(TEXTS),
        lambda: tokenizer(TEXTS, padding=True, return_tensors="np")["input_ids"],
    ]
    with one_blas_thread() as held:
        alone = [call() for call in calls]
        with ThreadPoolExecutor(8) as users:
            found = list(users.map(lambda number: calls[number % 5](), range(40)))
    for number, one in enumerate(found):
        assert far(one, alone[number % 5]) <= (0.0 if held else ACROSS_BATCHES)


@posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12's
def test_k4_a_fork_after_use_goes_on_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    encoder = SentenceEncoder("demo")
    expected = encoder.encode(TEXTS)
    child = os.fork()
    if not child:  # no test framework here: exit at once, whatever happens
        status = 1
        try:
            status = int(far(encoder.encode(TEXTS), expected) > ACROSS_BATCHES)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert capfd.readouterr() == ("", "")


@posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.usefixtures("threads")
def test_k4_a_child_does_not_wait_for_locks_that_were_held_in_its_parent() -> None:
    set_num_threads(2)
    encoder = SentenceEncoder("demo")  # not used yet: the child makes its kernel
    expected = SentenceEncoder("demo").encode(TEXTS)
    with threads._Pool.lock, threads._Blas.lock, packed._Making.lock:
        child = os.fork()
        if not child:
            signal.alarm(60)  # which ends a child that waits
            status = 1
            try:
                threads.in_threads(int, int, 1)
                status = int(far(encoder.encode(TEXTS), expected) > ACROSS_BATCHES)
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_k4_a_pickled_model_gives_the_same_and_may_not_be_written_to() -> None:
    encoder = SentenceEncoder("demo")
    expected = encoder.encode(TEXTS)
    copy = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(copy.encode(TEXTS), expected)
    for _, array in arrays_of(copy.model.parameters):
        assert not array.flags.writeable


@posix
def test_k4_a_fork_while_a_thread_computes(tmp_path: Path) -> None:
    """Our own pool, locks and memory are made anew in the child, and BLAS has one thread.

    Not here: where BLAS's own threads run in the parent, its locks may be held in the child for
    ever; numpy_bert/kernels/README.md says so. spawn and forkserver are in `scripts/stress.py`.
    """
    code = """
import os, threading
from numpy_bert import SentenceEncoder, set_num_threads
set_num_threads(3)
encoder, texts = SentenceEncoder("demo"), ["one two three", "a", "the sea"] * 9
expected, stop = encoder.encode(texts).tobytes(), threading.Event()
def compute():
    while not stop.is_set():
        encoder.encode(texts)
users = [threading.Thread(target=compute) for _ in range(3)]
for user in users: user.start()
for _ in range(5):
    child = os.fork()
    if not child:
        os._exit(encoder.encode(texts).tobytes() != expected)
    print(os.waitpid(child, 0)[1])
stop.set()
"""
    found = child(code, OPENBLAS_NUM_THREADS="1")
    assert (found.stdout, found.stderr) == ("0\n" * 5, "")


@pytest.mark.slow
def test_k3_k4_under_load() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "stress.py"), "--seconds=6", "--children=3"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr


@posix
@pytest.mark.parametrize("way", ["replaced", "pruned"])
def test_k5_a_loaded_model_does_not_notice_that_its_files_are_gone(
    tmp_path: Path, way: str
) -> None:
    """What is written into in place is another matter: caches never do that."""
    folder = write_checkpoint(tmp_path / "model")
    model = BertModel.from_pretrained(folder)  # mapped, and not read yet
    expected = BertModel.from_pretrained(folder, mmap=False)(IDS)
    if way == "pruned":
        shutil.rmtree(folder)
    else:
        other = write_checkpoint(tmp_path / "other", random_tensors(seed=1))
        (other / "model.safetensors").replace(folder / "model.safetensors")
        assert far(BertModel.from_pretrained(folder)(IDS)[0], expected[0]) > 1e-3
    gc.collect()
    assert np.array_equal(model(IDS).last_hidden_state, expected.last_hidden_state)


def test_k5_an_encoder_does_not_either(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder(), folder)
    encoder = SentenceEncoder(folder, mmap=os.name == "posix")
    shutil.rmtree(folder)
    assert np.array_equal(encoder.encode(TEXTS), SentenceEncoder("demo").encode(TEXTS))


def child(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    package = str(Path(numpy_bert.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": package, **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


LIMITED = """
import resource, sys, numpy as np
from numpy_bert import *
from numpy_bert.cli import main
model, encoder = BertModel.from_pretrained("demo"), SentenceEncoder("demo")
encoder.encode(["a", "b"]), model([[2, 5, 3]])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27,) * 2)
ids = np.full((256, 512), 5)
def tell(call):
    try:
        call()
    except OutOfMemoryError as failure:
        assert isinstance(failure, MemoryError) and isinstance(failure, NumpyBertError)
        print(failure)
tell(lambda: model(ids, output_attentions=True))
tell(lambda: model.packed(ids.ravel(), np.full(256, 512)))
tell(lambda: model.embeddings(np.tile(ids, (10, 1))))
tell(lambda: encoder.encode(["a b"] * 200_000))
print(encoder.encode("what is left is enough for this").shape)
with open(sys.argv[1], "w") as file:
    file.write("a b\\n" * 200_000)
sys.exit(main(["encode", "--input", sys.argv[1], "-o", sys.argv[1] + ".npy"]))
"""


@linux
def test_k7_out_of_memory_says_what_was_asked_for(tmp_path: Path) -> None:
    """Not here: the tokenizers library ends the process where there is no memory for its words."""
    path = tmp_path / "texts.txt"
    code = LIMITED.replace("sys.argv[1]", repr(str(path)))
    result = child(code, OPENBLAS_NUM_THREADS="1", NUMPY_BERT_NUM_THREADS="1")
    lines = result.stdout.splitlines()
    assert len(lines) == 5, result.stderr
    fewer = "Give fewer sequences at a time (a smaller batch), or shorter ones."
    assert lines[0] == (
        "model: out of memory for 256 x 512 tokens, whose result alone has 1,140,850,688 bytes "
        "(Unable to allocate 512. MiB for an array with shape (134217728,) and data type float32). "
        f"What is kept of each layer takes the most. {fewer}"
    )
    assert lines[1].startswith("model: out of memory for 1 x 131072 tokens, whose result alone has")
    assert lines[1].endswith(fewer)
    assert lines[2].startswith("embeddings: out of memory for 2560 x 512 tokens, whose embedding h")
    assert lines[3] == (
        "encode: out of memory for 200,000 texts, whose vectors have 307,200,000 bytes (Unable to "
        "allocate 293. MiB for an array with shape (200000, 384) and data type float32). Give "
        "fewer texts at a time, a smaller batch_size, or a mapped file as out."
    )
    assert lines[4] == "(384,)"
    assert "Traceback" not in result.stderr
    # A corpus needs no more, since it is encoded block by block.
    assert "200,000 texts; " in result.stderr
    assert result.returncode == 0
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, f"{path.name}.npy"}


@linux
def test_k7_sixteen_open_files_are_enough(tmp_path: Path) -> None:
    code = f"""
import resource
from numpy_bert import *
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
encoder = SentenceEncoder("demo")
print(encoder.encode(["a", "b"]).shape)
encoder.save_pretrained({str(tmp_path / "saved")!r})
print(SentenceEncoder({str(tmp_path / "saved")!r}).encode("a").shape)
"""
    result = child(code)
    assert (result.stdout, result.stderr) == ("(2, 384)\n(384,)\n", "")


@linux
def test_k7_no_file_stays_open_whether_loading_ends_well_or_not(tmp_path: Path) -> None:
    good = write_checkpoint(tmp_path / "good")
    bad = write_checkpoint(tmp_path / "bad", {"other": np.zeros(3, np.float32)})

    def load() -> None:
        BertModel.from_pretrained(good)([[1, 2]])
        BertModel.from_pretrained(good, mmap=False)
        with pytest.raises(CheckpointError):
            BertModel.from_pretrained(bad)

    def opened() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    load()
    before = opened()
    for _ in range(20):
        load()
    assert opened() <= before

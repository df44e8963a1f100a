"""``numpy-bert bisect``: the guilty step of a port in few runs, of few arrays each."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy_bert
from numpy_bert.cli.compare import open_candidate
from numpy_bert.cli.console import note, show, table
from numpy_bert.cli.options import (
    NAME_OR_PATH,
    add_examples,
    add_json,
    add_source,
    count,
    source_options,
    text,
)
from numpy_bert.errors import InputError, OutputError
from numpy_bert.messages import listed

if TYPE_CHECKING:
    from numpy_bert.traces.names import NameMap
    from numpy_bert.traces.trace_inputs import TraceInputs
    from numpy_bert.verification.bisect import Bisection

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command is for, and what it takes."""
    parser.description = (
        "Find the guilty step of a port in few runs. With CANDIDATE, a trace: print the names of "
        "the few arrays to add to it next, or what is wrong where it tells that already. With "
        "--text or --ids and, after --, a COMMAND that runs the port: run it until the guilty step "
        "is found. The command is told where the ids are, which arrays are wanted, joined by "
        "commas, and where to write them: {inputs}, {names} and {output} in its arguments stand "
        "for these, as do NUMPY_BERT_INPUTS, NUMPY_BERT_NAMES and NUMPY_BERT_OUTPUT in its "
        "environment. Exits with 0 if the port is right, 1 if it differs or arrays are missing, 2 "
        "if it could not be verified."
    )
    add_examples(
        parser,
        "numpy-bert bisect port.npz --model demo",
        'numpy-bert bisect --text "The sun is shining." --model demo -- '
        "python port.py {inputs} {names} {output}",
    )
    parser.add_argument(
        "words",
        metavar="CANDIDATE | -- COMMAND",
        nargs="*",
        help="a trace (.safetensors, .npz, or a folder of .npy), or a command and its arguments",
    )
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        required=True,
        help=f"the model that was ported: {NAME_OR_PATH}",
    )
    _add_inputs(parser)
    _add_search(parser)
    _add_runs(parser)
    parser.add_argument(
        "--precision",
        choices=("float16", "bfloat16", "tf32"),
        help="what the port is meant to compute in; by default what its arrays are stored in",
    )
    parser.add_argument(
        "--all-positions", action="store_true", help="verify padding too, not tokens only"
    )
    add_json(parser)
    add_source(parser)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what the port is run on."""
    parser.add_argument(
        "--text",
        metavar="TEXT",
        nargs="+",
        type=text,
        help="run the port on these texts, each a row of the batch; give some of other lengths",
    )
    parser.add_argument(
        "--pair", action="store_true", help="make one row of the two texts, with two segments"
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="run the port on these ids: a JSON object or a trace with input_ids and, where they "
        "are not all 1 and all 0, attention_mask and token_type_ids",
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for."""
    parser.add_argument(
        "--arrays",
        metavar="N",
        type=count,
        default=1,
        help="ask for N arrays at once, until one half of a layer is left; 1 by default",
    )
    parser.add_argument(
        "--until",
        metavar="STEP",
        help="ask for this step first; by default for the last hidden state, encoder",
    )
    parser.add_argument(
        "--names",
        metavar="GLOB",
        nargs="+",
        default=["*"],
        help="ask only for these steps, such as 'encoder.layer.*', which the port can save",
    )
    parser.add_argument(
        "--map", metavar="FILE", help="a JSON object from the port's names to the steps'"
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    """Add how the command is run."""
    parser.add_argument(
        "--format",
        choices=("npz", "npy", "safetensors"),
        default="npz",
        help="hand the ids over in an .npz file, in a folder of .npy files, or in a .safetensors "
        "file, and take arrays alike; npz by default",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=count,
        help="end a run that takes longer; there is no limit by default",
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="make this folder, and leave the files of all runs in it"
    )


def run(options: argparse.Namespace) -> int:
    """Choose the next arrays of a trace, or run a port until its guilty step is found."""
    from numpy_bert.verification.verify import load_exactly

    has_inputs = options.text is not None or options.ids is not None
    _check(options, has_inputs=has_inputs)
    model = load_exactly(options.model, **source_options(options))
    if not has_inputs:
        return _deliver_next(_next_of(options, model), as_json=options.json)
    found = _of_command(options, model)
    if options.json:
        show(json.dumps(found.as_dict(), allow_nan=False))
    else:
        show(_as_text(found))
    return 0 if found.verdict == "pass" else 1


def _check(options: argparse.Namespace, *, has_inputs: bool) -> None:
    """Check what argparse cannot."""
    words = options.words
    if not has_inputs and len(words) != 1:
        raise InputError(
            "give CANDIDATE, a trace; or --text or --ids, and after -- the command that runs the "
            f"port. Got {len(words)} words and no ids."
        )
    if has_inputs and not words:
        raise InputError("give the command that runs the port, after --.")
    if options.text is not None and options.ids is not None:
        raise InputError("give --text or --ids; one of the two.")
    if options.pair and len(options.text or ()) != 2:
        raise InputError("--pair: there must be two texts; give them with --text.")
    if not has_inputs and (options.keep is not None or options.timeout is not None):
        raise InputError("--keep and --timeout are about a command; give --text or --ids too.")


def _next_of(options: argparse.Namespace, model: numpy_bert.BertModel) -> Bisection:
    """Verify a trace that is there."""
    from numpy_bert.verification.bisect import next_arrays

    options.candidate = options.words[0]
    return next_arrays(
        open_candidate(options),
        model,
        arrays=options.arrays,
        until=options.until,
        only=options.names,
        precision=options.precision,
        all_positions=options.all_positions,
    )


def _deliver_next(found: Bisection, *, as_json: bool) -> int:
    """Print the names of what to save next, or the report that tells all."""
    from numpy_bert.comparison.report import as_text

    is_right = found.is_found and found.verdict == "pass"
    if as_json:
        show(json.dumps(found.as_dict(), allow_nan=False))
    elif found.is_found and found.report is not None:
        show(as_text(found.report))
        if found.wanted:
            note(f"to be sure, save these too: {listed(found.wanted, most=len(found.wanted))}")
    else:
        note(f"{found.sentence} Save these next:")
        show("\n".join(found.wanted))
    return 0 if is_right else 1


def _of_command(options: argparse.Namespace, model: numpy_bert.BertModel) -> Bisection:
    """Run the port by its command until all is known; say before each run what it is for."""
    from numpy_bert.traces.names import NameMap, read_map
    from numpy_bert.verification.bisect import arrays_of_inputs, bisect
    from numpy_bert.verification.command import CommandPort

    names: NameMap = NameMap(read_map(Path(options.map)) if options.map is not None else None)
    inputs = _inputs(options, model)
    with _folder(options.keep) as folder:
        port = CommandPort(
            options.words,
            arrays_of_inputs(inputs, model),
            folder,
            form=options.format,
            names=names,
            timeout=options.timeout,
        )
        for found in bisect(
            port,
            model,
            inputs,
            arrays=options.arrays,
            until=options.until,
            only=options.names,
            names=names,
            precision=options.precision,
            all_positions=options.all_positions,
        ):
            if found.wanted:
                what = listed(found.wanted, most=3)
                note(f"{found.sentence} Run {len(found.runs) + 1} asks for {what}.")
    return found


def _inputs(options: argparse.Namespace, model: numpy_bert.BertModel) -> TraceInputs:
    """Return what the port is run on."""
    from numpy_bert.traces.trace_inputs import inputs_of, read_ids

    if options.ids is not None:
        inputs = read_ids(Path(options.ids), model)
        usual = inputs_of({"input_ids": inputs.input_ids}, model).position_ids
        if not (inputs.position_ids == usual).all():
            raise InputError(f"{options.ids}: position_ids must be the model's own, or left out.")
        return inputs
    tokenizer = numpy_bert.BertTokenizer.from_pretrained(options.model, **source_options(options))
    texts = [tuple(options.text)] if options.pair else options.text
    return inputs_of(tokenizer(texts, padding=True, return_tensors="np"), model)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """Yield a folder for the files of the runs, which is removed unless it is to be kept."""
    if keep is None:
        import tempfile

        from numpy_bert.locks import temporary_folder

        shared = Path(tempfile.gettempdir()).resolve()
        with temporary_folder(shared / "bisect", 0o700) as temporary:
            yield temporary
        return
    path = Path(keep)
    try:
        path.mkdir()
    except OSError as failure:
        raise OutputError(
            f"--keep {path}: the folder could not be made ({failure.strerror}); name a new one."
        ) from None
    yield path


def _as_text(found: Bisection) -> str:
    """Write the runs, the arrays up to the first that differs, and the answer."""
    from numpy_bert.comparison.report import as_text

    assert found.report is not None
    rows = [
        (number, listed(run.asked, most=2), run.first or "none")
        for number, run in enumerate(found.runs, 1)
    ]
    lines = [table(("run", "asked for", "first to differ"), rows, right="r"), ""]
    lines.append(as_text(found.report))
    if found.is_spread:
        lines.append(found.sentence)
    for number, run in enumerate(found.runs, 1):
        if run.missing:
            lines.append(f"note: the port lacks {listed(run.missing)} (run {number}).")
    return "\n".join([*lines, *(f"note: {text}" for text in found.notes)])

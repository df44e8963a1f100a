"""Every text's vector into its row: the plan worked off, copies made, progress shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from numpy_bert.arrays import Array
from numpy_bert.encoding.plan import Batch, Plan, distinct
from numpy_bert.encoding.work import work_off
from numpy_bert.progress import progress

__all__ = ["cut_message", "fill"]

# Below as many characters nobody waits, and the bar's own import would be felt.
_WORTH_A_BAR = 20_000
_PATIENCE = 2.0  # seconds


def fill(
    vectors: Array,
    texts: Sequence[str],
    plan: Plan,
    embed: Callable[[Batch], Array],
    shown: bool | None,
) -> dict[int, int]:
    """Write each text's vector to its row; return the texts that were cut, and their lengths."""
    repeats = distinct(texts)
    characters = 0 if shown is False else sum(map(len, texts))
    least = {None: _WORTH_A_BAR, True: 0, False: 1}[None if shown is None else bool(shown)]
    total = len(repeats.rows) if characters >= least and shown is not False else 0
    with progress(
        total, "encoding", least=1, unit="texts", delay=0.0 if shown else _PATIENCE
    ) as report:

        def work(batch: Batch) -> None:
            vectors[batch.rows] = embed(batch)
            report(len(batch.rows))

        work_off(plan.batches(texts, repeats.rows), work)
    for start in range(0, len(repeats.copies), 4096):  # a block at a time: the file may be large
        part = slice(start, start + 4096)
        vectors[repeats.copies[part]] = vectors[repeats.originals[part]]
    for copy, original in zip(repeats.copies.tolist(), repeats.originals.tolist(), strict=True):
        if original in plan.cut:
            plan.cut[copy] = plan.cut[original]
    return plan.cut


def cut_message(cut: Mapping[int, int], single: bool, total: int, limit: int) -> str:
    """Say how many texts were cut, and which was the first."""
    first = min(cut)
    what = (
        f"the text has {cut[first]} tokens and was cut to max_seq_length = {limit}."
        if single
        else f"{len(cut)} of {total} texts have more tokens than max_seq_length = {limit} and were "
        f"cut; the first is sentences[{first}], of {cut[first]}."
    )
    return f"encode: {what}"

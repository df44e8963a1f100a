"""What can be chosen where there are several ways to compute the same, and the table of choices.

No constant is the fastest on all processors. What differs stands in one small table, by machine,
that ``python scripts/tune.py`` measures and prints. A machine that is not in it gets the plain way:
a product is one call of BLAS, so that no unknown machine is slower than the obvious code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from numpy_bert.kernels.machine import Machine

__all__ = ["ACTIVATION_FORMS", "TABLE", "Choices", "Cut", "block_rows"]

ACTIVATION_FORMS = ("tanh", "exp")


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to cut a product ``x @ w.T`` into pieces, each of some rows and some columns.

    Attributes
    ----------
    most_features, most_rows : int
        The cut is for an x of at most so many features and rows; 0 rows mean any number. In a table
        those cuts count whose `most_features` is the least that is enough.
    rows, columns : int
        The size of a piece; 0 if products of such features are not cut.
    """

    most_features: int
    most_rows: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen for a machine; the defaults are for one that is unknown.

    Attributes
    ----------
    cuts : tuple of Cut
        The first that is for a product is taken; where there is none, the product is not cut.
    activation : str
        "tanh" or "exp": the function that an activation is computed by.
    block_bytes : int
        The size of a block of rows; 0 where a core's second-level cache decides.
    """

    cuts: tuple[Cut, ...] = ()
    activation: str = "tanh"
    block_bytes: int = 0


# Intel Sapphire and Emerald Rapids. OpenBLAS has a routine for small products there, but large ones
# are faster for many rows. From a table of GFLOP/s of one core; no whole model was run with it.
_RAPIDS = Choices(
    cuts=(
        Cut(488, 15, 8, 64),
        Cut(488, 200, 32, 64),
        Cut(976, 15, 8, 64),
        Cut(976, 64, 32, 32),
        Cut(1953, 31, 8, 64),
    ),
    block_bytes=192 << 10,
)
# Measured by scripts/tune.py unless said otherwise; sizes at which nothing was measured have none.
TABLE: Mapping[Machine, Choices] = MappingProxyType(
    {
        # AMD Zen 3, and any other of its family without AVX-512. OpenBLAS has no routine for small
        # products there; NumPy's tanh takes twice as long as its exp.
        Machine("AMD family 25", "AVX2", "OpenBLAS Haswell"): Choices(
            activation="exp", block_bytes=384 << 10
        ),
        # AMD Zen 4. OpenBLAS has a routine for products of up to 100**3 terms there, which takes
        # matrices as they stand; it is as fast as large products for many rows, too. These are the
        # constants from before this table; scripts/tune.py has not been run there.
        Machine("AMD family 25", "AVX-512", "OpenBLAS SkylakeX"): Choices(
            cuts=(Cut(1953, 0, 8, 64), Cut(3906, 0, 4, 64)), block_bytes=384 << 10
        ),
        # AMD Zen 5. One large product is the fastest from 64 rows on, and tanh is faster than exp.
        Machine("AMD family 26", "AVX-512", "OpenBLAS SkylakeX"): Choices(
            cuts=(
                Cut(384, 8, 8, 128),
                Cut(384, 32, 16, 128),
                Cut(768, 8, 8, 128),
                Cut(768, 16, 16, 64),
                Cut(1024, 8, 8, 64),
                Cut(1536, 32, 8, 64),
            ),
            block_bytes=384 << 10,
        ),
        Machine("Intel family 6 model 143", "AVX-512 with FP16", "OpenBLAS SkylakeX"): _RAPIDS,
        Machine("Intel family 6 model 207", "AVX-512 with FP16", "OpenBLAS SkylakeX"): _RAPIDS,
    }
)


def block_rows(features: int, size: int, *, least: int = 1) -> int:
    """Return how many rows of `features` float32 elements a block of `size` bytes has."""
    return max(least, size // (4 * features))

"""How far a result may be from its reference: the one place where a tolerance is written.

Against the float64 specification a float32 error of ours is at most twice torch's own; or, where
torch is nearer, 1e-6, or twice float32's epsilon of the largest number if that is more. Look-ups
and sums are equal to the bit. Float64 agrees with torch's float64 to 1e-12 at the depth of the
embedding and to 1e-10 at that of the encoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT32_FLOOR = 1e-6
FLOAT64_AGAINST_TORCH = 1e-12
ENCODER_FLOAT64_AGAINST_TORCH = 1e-10
# The encoder in float64 against the same maths in another order.
SAME_MATHS = 1e-12
# One sentence alone, in a batch and padded, in float32, of hidden states of about 1: products of
# other sizes are added up in another order.
ACROSS_BATCHES = 5e-6
# The kernels' activations of inputs from -12 to 12: 7.7e-8 of fitting in gelu, the rest roundings:
# at 8 that of a sum, 4.8e-7, and of a quotient, 2.4e-7.
FAST_GELU = 7.5e-7
FAST_SILU = 1.2e-6
# What that may come to after some layers, beside the float32 budget.
FAST_ENCODER = 2 * FAST_GELU
# Against published numbers of small models: in float64 where those were, too, else in float32.
GOLDEN = {"float32": 5e-6, "float64": 1e-10}
# Against float32 of TensorFlow after nine to twelve layers, which has an error of its own.
GOOGLE = 5e-5
# The whole model and a head in float64; scores are sums over H of numbers of some tens.
HEADS_AGAINST_TORCH = 1e-10
# Logits that onnxruntime computed in float32, in an order of its own.
SHIPPED_GOLDEN = 1e-5
# Probabilities at the end of a pipeline in float32, of models whose logits are of some tens.
PIPELINE_SCORE = 2e-5
# Scores of a cross-encoder against torch's float32, of the largest if that is above 1.
CROSS_ENCODER = 1e-6
# How many times the budget of the encoder in float32 tiny random models may take: layer by layer
# they make roundings larger, as no trained model does, and torch's own error, which the budget goes
# by, is another on each processor. Seen, by OPENBLAS_CORETYPE on an AMD EPYC without AVX-512, with
# the models of tests/parity/test_encoder_parity.py and 60 more: 1.02 with Haswell's kernels, which
# have a fused multiply-add; 1.74 with Prescott's, Nehalem's and Sandybridge's, which have none.
# MiniLM, the heads, the gradients and a student stay within theirs, without this room, on all four.
WILD = 2.0
# Gradients in float64 against torch's, of the largest of the same parameter.
GRADIENT_FLOAT64 = 1e-9
# In float32, of the length of all gradients of a small random model, whose numbers run wild.
GRADIENT_WILD = 1e-4
# The training kernels in float32, two layers of wild weights, of the largest of the same array.
TRAINING_KERNEL = 3e-5
# The notebook's parts are printed to four decimals, so sums of them are off by up to 8.8e-5.
NOTEBOOK_SUM = 1.1e-4


def float32_budget(
    reference: npt.NDArray[Any], torch_result: npt.NDArray[Any] | None = None
) -> float:
    """Return the largest error that a float32 result may have against the float64 `reference`."""
    if torch_result is None:
        return FLOAT32_FLOOR
    torch_error = float(np.abs(torch_result.astype(np.float64) - reference).max(initial=0.0))
    return max(FLOAT32_FLOOR, 2.0 * torch_error)


def encoder_float32_budget(reference: npt.NDArray[Any], torch_result: npt.NDArray[Any]) -> float:
    """Return the same where numbers can be large: inside the encoder nothing normalizes them."""
    largest = float(np.abs(reference).max(initial=0.0))
    spacing = 2.0 * float(np.finfo(np.float32).eps) * largest
    return max(float32_budget(reference, torch_result), spacing)


def fast_encoder_budget(reference: npt.NDArray[Any], torch_result: npt.NDArray[Any]) -> float:
    """Return the same for the kernels, which have an activation of their own."""
    return encoder_float32_budget(reference, torch_result) + FAST_ENCODER


def product_budget(terms: int, dtype: str) -> float:
    """Return the error of a sum of products of standard normal numbers: a rounding for each."""
    return 4.0 * terms * float(np.finfo(dtype).eps)


def activation_budget(expected: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return the error of an activation for each element: four roundings of it, and of 1."""
    epsilon = float(np.finfo(dtype).eps)
    budget: npt.NDArray[Any] = 4.0 * epsilon * np.maximum(np.abs(expected), 1.0)
    return budget


def gradient_loss_budget(dtype: str, exact: float, torch_loss: float) -> float:
    """Return the error that a loss may have; torch computes it in the model's dtype."""
    floor = 1e-12 if dtype == "float64" else 5 * FLOAT32_FLOOR
    return max(floor * max(1.0, abs(exact)), 2.0 * abs(torch_loss - exact))

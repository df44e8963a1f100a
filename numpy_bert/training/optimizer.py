"""AdamW, the clipping of gradients, and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from numpy_bert.arguments import is_number
from numpy_bert.arrays import Array
from numpy_bert.errors import InputError
from numpy_bert.kernels.threads import free_threads, share
from numpy_bert.messages import must_be

__all__ = [
    "AdamW",
    "clip_grad_norm",
    "clip_grads_with_norm",
    "global_norm",
    "has_decay",
    "linear_schedule",
]

# Elements that are updated at a time, so that a pass over them stays in the cache.
_BLOCK = 1 << 16
_WORTH_A_THREAD = 8  # blocks


class AdamW:
    """Adam with decoupled weight decay, over named arrays that it changes in place.

    Parameters
    ----------
    parameters : mapping of str to ndarray
        Writeable, C-contiguous, float32 or float64; the names are checkpoint keys.
    lr : float
        The learning rate of a step that names no other.
    betas : (float, float)
        How much of the means of the gradient and of its square is kept at a step, in [0, 1).
    eps : float
        Added to the root of the mean square.
    weight_decay : float
        How much of a weight is taken away at a step, times the learning rate. Biases and
        LayerNorm's parameters do not decay (see `has_decay`).

    Attributes
    ----------
    steps : int
        How many steps have been taken.
    exp_avg, exp_avg_sq : dict of str to ndarray
        The running means of each gradient and of its square, as torch names them.

    Notes
    -----
    With g the gradient and t the step's number: w <- w - lr * weight_decay * w;
    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
    w <- w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps). So a parameter that never had a
    gradient only decays.

    References
    ----------
    .. [1] Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101,
       algorithm 2; torch.optim.AdamW.

    Examples
    --------
    >>> weights = {"dense.weight": np.ones((1, 2)), "dense.bias": np.ones(1)}
    >>> optimizer = AdamW(weights, lr=0.1, weight_decay=0.5)
    >>> optimizer.step({name: np.ones_like(array) for name, array in weights.items()})
    >>> weights["dense.weight"].round(6), weights["dense.bias"].round(6)
    (array([[0.85, 0.85]]), array([0.9]))
    """

    def __init__(
        self,
        parameters: Mapping[str, Array],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not (is_number(value) and value >= 0.0):
                raise InputError(must_be(f"AdamW: {name}", "a number from 0", value))
        are_two = isinstance(betas, (tuple, list)) and len(betas) == 2
        if not are_two or not all(is_number(beta) and 0.0 <= beta < 1.0 for beta in betas):
            raise InputError(must_be("AdamW: betas", "two numbers in [0, 1)", betas))
        for name, array in parameters.items():
            if not (array.flags.writeable and array.flags.c_contiguous):
                raise InputError(f"AdamW: {name} must be writeable and C-contiguous.")
        self.parameters = dict(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.steps = 0
        self.exp_avg = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.exp_avg_sq = {name: np.zeros_like(array) for name, array in parameters.items()}

    def step(self, gradients: Mapping[str, Array], *, lr: float | None = None) -> None:
        """Move every parameter by its gradient.

        Parameters
        ----------
        gradients : mapping of str to ndarray
            The gradients, of the same names, shapes and dtypes as the parameters.
        lr : float, optional
            The learning rate of this step; that of the optimizer by default.

        Raises
        ------
        InputError
            If a name is missing or unknown, or an array has another shape or dtype; then nothing
            has changed.
        """
        rate = self.lr if lr is None else lr
        if set(gradients) != set(self.parameters):
            odd = sorted(set(gradients) ^ set(self.parameters))[0]
            raise InputError(f"AdamW: {odd} must have a parameter and a gradient; got only one.")
        for name, array in self.parameters.items():
            grad = gradients[name]
            if grad.shape != array.shape or grad.dtype != array.dtype:
                raise InputError(
                    f"AdamW: the gradient of {name} must be {array.dtype} of shape {array.shape}; "
                    f"got {grad.dtype} of shape {grad.shape}."
                )
        self.steps += 1
        sources = (self.parameters, gradients, self.exp_avg, self.exp_avg_sq)
        rows = [_flat(arrays) for arrays in sources]

        def move(name: str, start: int) -> None:
            decay = self.weight_decay if has_decay(name) else 0.0
            blocks = [flat[name][start : start + _BLOCK] for flat in rows]
            self._move(blocks, rate, rate * decay)

        _for_blocks(self.parameters, move)

    def _move(self, rows: list[Array], lr: float, decay: float) -> None:
        """Take one step of a block of elements, in place: weights, gradients and their means."""
        weight, grad, mean, square = rows
        first, second = self.betas
        if decay:
            weight *= 1.0 - decay
        mean *= first
        mean += (1.0 - first) * grad
        square *= second
        square += (1.0 - second) * (grad * grad)
        root = np.sqrt(square)
        root /= math.sqrt(1.0 - second**self.steps)
        root += self.eps
        np.divide(mean, root, out=root)
        root *= lr / (1.0 - first**self.steps)
        weight -= root


def has_decay(name: str) -> bool:
    """Tell whether a parameter decays: weights do, biases and LayerNorm's parameters do not.

    A table of biases is one of these.

    References
    ----------
    .. [1] google-research/bert, optimization.py, exclude_from_weight_decay.

    Examples
    --------
    >>> has_decay("encoder.layer.0.output.dense.weight"), has_decay("embeddings.LayerNorm.weight")
    (True, False)
    >>> has_decay("encoder.relative_attention_bias.weight")
    False
    """
    return not ("bias" in name or "LayerNorm" in name)


def global_norm(gradients: Mapping[str, Array]) -> float:
    """Return the length of all gradients taken together, summed in float64.

    Examples
    --------
    >>> global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])})
    5.0
    """
    flat, sums = _flat(gradients), dict[tuple[str, int], float]()

    def add(name: str, start: int) -> None:
        wide = flat[name][start : start + _BLOCK].astype(np.float64, copy=False)
        sums[name, start] = float(np.einsum("i,i->", wide, wide))  # BLAS would wake its threads

    _for_blocks(gradients, add)
    return math.sqrt(sum(sums[block] for block in sorted(sums)))  # in whatever order they came


def clip_grad_norm(gradients: Mapping[str, Array], max_norm: float) -> float:
    """Scale gradients down in place where together they are longer than `max_norm`.

    Parameters
    ----------
    gradients : mapping of str to ndarray
        The gradients, which must be writeable.
    max_norm : float
        The length that they may have together, above 0.

    Returns
    -------
    float
        The length that they had together before.

    Notes
    -----
    The scale is max_norm / (norm + 1e-6), torch's, where that is below 1.

    References
    ----------
    .. [1] Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
       arXiv:1211.5063, algorithm 1; torch.nn.utils.clip_grad_norm_.

    Examples
    --------
    >>> gradients = {"a": np.array([3.0, 4.0])}
    >>> clip_grad_norm(gradients, 1.0), gradients["a"].round(6)
    (5.0, array([0.6, 0.8]))
    """
    norm = global_norm(gradients)
    clip_grads_with_norm(gradients, max_norm, norm)
    return norm


def clip_grads_with_norm(
    gradients: Mapping[str, Array], max_norm: float, total_norm: float
) -> None:
    """Do what `clip_grad_norm` does to gradients whose length is known already.

    References
    ----------
    .. [1] torch.nn.utils.clip_grads_with_norm_.

    Examples
    --------
    >>> gradients = {"a": np.array([3.0, 4.0])}
    >>> clip_grads_with_norm(gradients, 1.0, global_norm(gradients))
    >>> gradients["a"].round(6)
    array([0.6, 0.8])
    """
    if not (is_number(max_norm) and max_norm > 0.0):
        raise InputError(must_be("clip_grad_norm: max_norm", "above 0", max_norm))
    scale = max_norm / (total_norm + 1e-6)
    if scale < 1.0:
        flat = _flat(gradients)

        def shorten(name: str, start: int) -> None:
            flat[name][start : start + _BLOCK] *= scale

        _for_blocks(gradients, shorten)
        for name, array in gradients.items():
            if not array.flags.c_contiguous:  # what was shortened is a copy
                array[...] = flat[name].reshape(array.shape)


def linear_schedule(step: int, *, warmup: int, total: int) -> float:
    """Return the factor of the learning rate, which rises from 0 in a line, then falls to 0.

    Parameters
    ----------
    step : int
        The number of the step, from 0.
    warmup : int
        How many steps the rate rises for.
    total : int
        How many steps there are in all.

    References
    ----------
    .. [1] transformers, optimization.py, get_linear_schedule_with_warmup.

    Examples
    --------
    >>> [linear_schedule(step, warmup=2, total=6) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, (total - step) / max(1, total - warmup))


def _for_blocks(arrays: Mapping[str, Array], work: Callable[[str, int], None]) -> None:
    """Call `work` in threads with the array's name and the first element of every block."""
    blocks = [
        (name, start) for name, array in arrays.items() for start in range(0, array.size, _BLOCK)
    ]
    threads = min(free_threads(), 1 + len(blocks) // _WORTH_A_THREAD)

    def take(mine: Iterable[tuple[str, int]]) -> None:
        for name, start in mine:
            work(name, start)

    share(take, [blocks[number::threads] for number in range(threads)])


def _flat(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return all elements of each in one row: a view, or a copy of what is not C-contiguous."""
    return {name: array.reshape(-1) for name, array in arrays.items()}

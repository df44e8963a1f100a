"""Checks of the members of a sentence model's files, and how they say what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from numpy_bert.errors import ConfigError
from numpy_bert.messages import quoted

__all__ = ["as_features", "bad_member", "check_known"]

_MOST_FEATURES = 1 << 24


def as_features(path: Path, name: str, value: object) -> int:
    """Return a number of features.

    Raises
    ------
    ConfigError
        If it is none that a layer can have.
    """
    if type(value) is not int or not 1 <= value <= _MOST_FEATURES:
        raise bad_member(path, name, value, "a whole number from 1")
    return value


def check_known(path: Path, stated: Iterable[str], known: Collection[str], kind: str) -> None:
    """Raise ConfigError at the first member that is not known of a module of this kind."""
    for name in stated:
        if name not in known:
            raise ConfigError(f"{path}: {quoted(name)} is not supported for a {kind}.")


def bad_member(path: Path, name: str, value: object, wanted: str) -> ConfigError:
    """Say that a member cannot be meant, or is not supported.

    Examples
    --------
    >>> str(bad_member(Path("config.json"), "bias", 1, "true or false"))
    'config.json: bias = 1; true or false was expected.'
    """
    return ConfigError(f"{path}: {name} = {quoted(repr(value))}; {wanted} was expected.")

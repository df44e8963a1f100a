"""A service over HTTP: vectors and ranks, in the shapes that clients of others already speak."""

from numpy_bert.serving.app import create_app
from numpy_bert.serving.batching import Limits

__all__ = ["Limits", "create_app"]

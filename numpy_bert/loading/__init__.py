"""From a model's name to NumPy arrays."""

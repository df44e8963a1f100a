"""Vectors within engines of many machines: `dask`, and `frames` for any other, such as Spark."""

"""Vectors within engines that run on many machines."""

"""Traces: the names in them, files read and written, what they were made of."""

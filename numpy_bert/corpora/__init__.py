"""Texts by the million: read from files, encoded block by block, gone on with, searched."""

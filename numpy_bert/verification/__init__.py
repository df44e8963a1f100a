"""Traces against the specification: the first step that differs, by how much, and why."""

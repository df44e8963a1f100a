"""A trace against the float64 specification: the first step that is wrong, and why."""

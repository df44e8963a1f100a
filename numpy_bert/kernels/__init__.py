"""Blocked in-place float32 twins of the readable blocks, and the threads that they share."""

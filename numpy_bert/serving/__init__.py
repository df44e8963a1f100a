"""A service over HTTP: vectors and ranks, in the shapes that clients of others already speak."""

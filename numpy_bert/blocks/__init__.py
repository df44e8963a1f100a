"""BERT out of ops, readable."""

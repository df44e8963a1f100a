"""The pure array steps of BERT."""

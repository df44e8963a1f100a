"""What the tasks make of logits: pure functions of arrays and encodings."""

"""From texts to vectors: packing without padding, pooling, similarity, search."""

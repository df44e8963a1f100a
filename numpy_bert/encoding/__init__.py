"""From texts to vectors: packing without padding, pooling, similarity, search."""

# Here, because the command line reads it, and imports no NumPy to show its help. In the order in
# which sentence-transformers joins the modes that its older files switch on.
MODES = ("cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken")

# What a feature of a vector may be stored in, by sentence-transformers' names.
PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")

"""What runs a model's files: each gives a ``Forward``, tensors in and named outputs out."""

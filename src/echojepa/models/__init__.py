"""Networks and objectives: tensors in, tensors out; no files, no ranks."""

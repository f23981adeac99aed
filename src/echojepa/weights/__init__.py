"""Weights on disk, ours and other packages': read strictly, written whole, no code of a file run."""

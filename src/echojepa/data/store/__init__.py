"""The data set's bytes: its table of loops, rows, frames as bytes, where it lies."""

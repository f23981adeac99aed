"""Frozen encoders under comparison, all behind one contract."""

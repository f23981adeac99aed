"""Rows of results as tables and curves for people, beside the paper's numbers."""

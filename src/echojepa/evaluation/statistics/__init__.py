"""Metrics, their uncertainty, and comparisons: arrays in, numbers out."""

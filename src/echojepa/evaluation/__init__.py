"""Frozen features, probes, metrics and intervals."""

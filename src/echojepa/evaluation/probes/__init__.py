"""Probes on features: how they are trained, chosen and stored, and what they predict."""

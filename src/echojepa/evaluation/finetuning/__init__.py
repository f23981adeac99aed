"""Encoder and head trained together."""

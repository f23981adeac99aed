"""Synthetic hearts whose truth is known, seen by a synthetic scanner. Nothing here is clinical."""

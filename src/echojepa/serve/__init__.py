"""Answers for studies over HTTP: a JSON API, and pages on it."""

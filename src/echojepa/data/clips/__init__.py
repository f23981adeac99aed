"""Clips for models, cut from stored loops: at a time, kept in memory, several of a study."""

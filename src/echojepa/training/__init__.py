"""Pretraining: the loop, its schedules, checkpoints and monitors."""

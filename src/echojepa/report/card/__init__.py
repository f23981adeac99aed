"""The model card, in the headings of TRIPOD+AI and CLAIM, filled from a run's own records."""

"""The protocol of an evaluation: plans, the cohort, and the samples of a plan's cells."""

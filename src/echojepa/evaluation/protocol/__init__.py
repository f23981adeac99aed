"""What is asked: plans, the cohort that answers them, and the samples that a cell of a plan means in it."""

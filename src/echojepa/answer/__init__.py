"""A study in, an answer out: values with intervals, the loops they rest on, or why there is none."""

"""Work on many processes: with limits on each, on a cluster, one writer at a time."""

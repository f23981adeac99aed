"""From files to a data set."""

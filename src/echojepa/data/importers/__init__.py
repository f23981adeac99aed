"""Public data sets and plain tables, each read by one file: what its own tables say becomes a `Listing`."""

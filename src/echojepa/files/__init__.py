"""Files that survive a stop: written whole and durably, read back strictly, the same for every stage."""

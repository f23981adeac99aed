"""One patient's heart: anatomy at rest, motion, blood, the views through it, and what is true of it."""

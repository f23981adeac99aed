"""Many patients: who is drawn at which site, what is recorded of them, and how it is written."""

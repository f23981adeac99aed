"""A DICOM node: studies come in by C-STORE, answers go back the same way. Research use only."""

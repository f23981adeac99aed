"""Pixels and tables: DICOM in, one de-identified table out, clips for models."""

"""DICOM in and out: the only code that knows tags and codecs; patient identifiers stop here."""

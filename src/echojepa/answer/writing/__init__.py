"""What an answer is written as: JSON and CSV, a page, and DICOM objects for the archive it came from."""

"""What one file gives: DICOM, video or volume, told by its content, or a reason why it gives nothing."""

"""What is ultrasound on a screen: the fan, its scale, and writing that must not stay."""

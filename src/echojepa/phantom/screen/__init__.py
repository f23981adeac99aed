"""What a scanner draws around the ultrasound: text, scales, ECG, buttons, in seven layouts."""

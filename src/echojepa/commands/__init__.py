"""What each command does once its settings are known: it calls one function and says what came out."""

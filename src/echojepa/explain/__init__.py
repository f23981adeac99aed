"""What a frozen encoder looks at, and how its features lie."""

"""What models cost and what they know."""

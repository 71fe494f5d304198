"""What one clerk collected, another one looks at before a card is made (复核)."""

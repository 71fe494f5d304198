"""What a card can do where: the application catalog over HTTP."""

"""All cryptography and key custody: raw ciphers, the card's rules over them, and the key service with its backends."""

"""Registered callers: terminals, operators, wallets and verifiers, each with its public key."""

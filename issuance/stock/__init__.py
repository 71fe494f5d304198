"""Blank cards and the pool of card numbers; every one of them accounted for."""

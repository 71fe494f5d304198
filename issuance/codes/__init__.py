"""Codes of electronic cards: shown by the holder's phone, valid for sixty seconds, accepted once."""

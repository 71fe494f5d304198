"""Persons: personal data sealed, found by a keyed index of the social security number."""

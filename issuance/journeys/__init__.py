"""Journeys: what transit terminals told, whether it is true, and how a day of theirs comes out to the fen."""

"""Authorisations for the offline transit code: what a holder's phone needs to make codes without a network."""

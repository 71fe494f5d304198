"""Issued cards and their states."""

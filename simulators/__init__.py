"""Simulated cards, PSAMs and readers: they share tables and raw ciphers with the hosts, never behaviour."""

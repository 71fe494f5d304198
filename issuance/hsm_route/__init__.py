"""Authentications by the security module (加密机) for terminals whose PSAM cannot, and settlement orders."""

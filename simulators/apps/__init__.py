"""Applications that share a chip with the social security environment: transit purse, certificates, bank card."""

"""Sample pages of a hospital, a bank and a town hall, as living documentation (docs/agent/samples.md)."""

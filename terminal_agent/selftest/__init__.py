"""The installer's self test: every configured part of a terminal tried once, by the agent's own API."""

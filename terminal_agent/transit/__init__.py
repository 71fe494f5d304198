"""The gate: cards and codes at a turnstile or on a bus, without the network. Imported in profile transit alone."""

"""What the centre publishes, at the terminal: fetched, kept and asked without the network."""

"""Remote card sessions: the centre computes the commands, a terminal executes them."""

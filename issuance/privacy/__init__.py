"""Personal data: what is where, how it is masked, found, shown, sealed anew and forgotten."""

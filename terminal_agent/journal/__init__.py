"""What this terminal must tell the centre: kept in a journal on its disk until the centre has it, each record once."""

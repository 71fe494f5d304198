"""APDU scripts and recordings: one language, its parser, a runner over any channel, a recorder and its replay."""

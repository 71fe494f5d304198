"""Clerks: who they are, how they log in, what each role may do, and what needs a second one."""

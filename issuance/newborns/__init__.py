"""出生一件事: the joint application for a newborn, which may wait for name and number."""

"""The phone app of test holders: keys, proofs and pages, written from the documented interface alone."""

"""Batch production: applications by the hundred thousand, files to bank, CA and factory, their return files."""

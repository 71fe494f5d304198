"""The `onecard` command line: the one place that puts the packages together. Imported by none of them."""

"""What terminals kept while the centre was away, taken in once each, and how their books and ours compare."""

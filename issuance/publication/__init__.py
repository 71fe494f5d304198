"""What terminals fetch, published by the centre itself: block list, roots of transit codes, application catalog."""

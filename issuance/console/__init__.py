"""The clerks' web pages: thin handlers over the services, one template each, words in two languages."""

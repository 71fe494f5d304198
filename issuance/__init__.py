"""The central service: applications, blank stock, card numbers, remote card sessions, electronic cards, audit."""

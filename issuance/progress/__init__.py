"""Progress of an application for the person who waits for the card: by receipt number, without logging in."""

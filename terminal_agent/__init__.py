"""The local service of a kiosk, counter or transit terminal: readers and cards over HTTP, events and WebSocket."""

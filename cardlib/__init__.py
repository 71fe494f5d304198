"""Cards: specification as data, sessions, scripts, driver-compatible API."""

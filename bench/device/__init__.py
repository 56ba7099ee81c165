"""The only room that knows hardware."""

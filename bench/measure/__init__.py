"""The only room with a timer."""

"""The recipe itself: one file a check, each a plugin."""

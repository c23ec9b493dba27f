"""Measurements of the tool itself: bugs found, false alarms."""

"""One file a format. Each derives everything from a `Report`; none imports torch."""

"""What is observed once, in one pass over a few batches, and read by many checks."""

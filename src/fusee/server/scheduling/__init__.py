"""Decides which requests run together and when, and runs them: queues, batches, deadlines, engine instances."""

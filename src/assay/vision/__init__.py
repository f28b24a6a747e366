"""Photographs into features, and features against references, by Fusee engines."""

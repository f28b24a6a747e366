"""Scores, thresholds with a stated error rate, and the verdict."""

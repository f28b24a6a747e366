"""Asks servers of the Open Inference Protocol: one request at a time, or a measured load."""

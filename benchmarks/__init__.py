"""Fusee against other inference engines: the networks, the peers, and the comparison."""

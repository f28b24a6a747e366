"""Photographs as they come in: read safely, judged for quality, recognised again; and the maps drawn over them."""

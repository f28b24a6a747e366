"""The server measured: beside the real Triton, on the same models."""

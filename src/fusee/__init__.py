"""Fusee: compiles a trained ONNX model into an engine tuned to one machine, and runs it."""

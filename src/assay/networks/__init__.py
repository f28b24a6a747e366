"""What Assay's networks compute, written as ONNX graphs from arrays. Only packing and training know this room."""

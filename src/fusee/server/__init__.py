"""Serves engines over the Open Inference Protocol: HTTP and gRPC doors, one data plane, models that batch."""

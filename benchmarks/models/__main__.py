"""Writes a network to a file: ``python -m benchmarks.models resnet50 resnet50.onnx [--batch N]``."""

from __future__ import annotations

import argparse

import onnx

from benchmarks.models import MODELS


def main() -> None:
    """Reads the command line, writes the file and says what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description="Writes a benchmark network.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("path", help="the ONNX file to write")
    parser.add_argument("--batch", default="1", help="a number, or a name to leave the dimension open (default: 1)")
    options = parser.parse_args()
    batch = int(options.batch) if options.batch.isdigit() else options.batch
    model = MODELS[options.model]
    onnx.save(model.build(batch), options.path)
    print(
        f"{options.path}: {model.name}, batch {batch}, {model.parameters:,} parameters, {model.gflops} GFLOPs an input"
    )


if __name__ == "__main__":
    main()

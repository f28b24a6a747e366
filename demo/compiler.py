"""What the compiler does: `make demo-compiler`. Real digits first, then ResNet-50 beside ONNX Runtime."""

from __future__ import annotations

from time import perf_counter

from demo import digits, resnet
from demo.saying import say


def main() -> None:
    """Both parts, and how long they took."""
    start = perf_counter()
    digits.show()
    resnet.show()
    say(f"\nDone in {perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()

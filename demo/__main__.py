"""Shows Assay from nothing to four reports: `make demo`, or ``python -m demo``. Everything runs in one process."""

from __future__ import annotations

import sys
from time import perf_counter

from demo import assay


def main() -> None:
    """Sets up, asks, prints; exit code 1 when a verdict is not the one that the case was made for."""
    start = perf_counter()
    is_right = assay.show()
    print(f"\nDone in {perf_counter() - start:.0f} s.", flush=True)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()

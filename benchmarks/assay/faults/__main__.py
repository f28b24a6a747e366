"""Kill everything, at random, under load: every accepted case ends in exactly one report.

    python -m benchmarks.assay.faults --minutes 3 --scale distributed --seed 1

It starts the installation (RabbitMQ and PostgreSQL too), submits cases, kills, hangs and stops its processes (one
kind after the other, then for ``--minutes`` at random), waits until nothing is left to do, judges what the database
then holds, and writes a page to benchmarks/results.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from assay.packing import pack
from benchmarks.assay.faults.drill import drill
from benchmarks.assay.faults.installation import Template, prepared
from benchmarks.assay.faults.page import write_page
from benchmarks.assay.faults.rigs import why_no_rig
from benchmarks.assay.faults.run import run
from benchmarks.assay.faults.storm import storm

MODELS = Path(__file__).parents[3] / "models/assay"
CACHE = Path(tempfile.gettempdir()) / "assay-faults"  # engines and photographs, for the next run
REFERENCES, CASES = 5, 8  # items drawn


def trained() -> Template:
    pack(MODELS, CACHE / "engines", progress=lambda name: print(f"building the engine {name}", flush=True))
    return prepared(CACHE / "template", CACHE / "engines", REFERENCES, CASES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--scale", choices=("embedded", "distributed"), default="embedded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder that everything is done in, and left in, for a look at it")
    asked = parser.parse_args()
    if why_no_rig(asked.scale):
        raise SystemExit(why_no_rig(asked.scale))
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as folder:
        outcome = run(
            asked.scale,
            trained(),
            asked.keep or Path(folder),
            lambda rig: storm(rig, 60 * asked.minutes, asked.seed),
            asked.seed,
            drill,
        )
    print(write_page(outcome, asked.scale, asked.minutes, asked.seed))
    raise SystemExit("\n".join(outcome.broken) if outcome.broken else 0)


if __name__ == "__main__":
    main()

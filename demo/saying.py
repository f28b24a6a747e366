"""What both parts of the demonstration share: lines that appear as soon as they are known."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from fusee.build import build_artifact
from fusee.cli.arguments import sizes_of
from fusee.cli.build import facts
from fusee.engine.file import save

OUT = Path(__file__).parents[1] / "demo-out"


def say(line: str) -> None:
    print(line, flush=True)


def title(line: str) -> None:
    say(f"\n== {line}")


def built(model: Path) -> Path:
    """The engine file that a build makes of the model, in demo-out; prints each stage and the summary."""
    OUT.mkdir(exist_ok=True)
    say(f"building {model.name}: {len(onnx.load(model, load_external_data=False).graph.node)} ONNX nodes")
    made = build_artifact(model, progress=lambda stage, share: say(f"  {share:4.0%}  {stage}"))
    engine = OUT / f"{model.stem}.fusee"
    save(made.artifact, engine)
    shown = Path(os.path.relpath(engine))
    for name, fact in facts(made.artifact, made.report, sizes_of(made.artifact.plan, {}), shown).items():
        say(f"  {name:<9} {fact}")
    return engine

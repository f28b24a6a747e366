"""fusee run: one inference on arrays, images or random data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
import typer

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.cli.arguments import AsJson, Model, Shapes, Threads, open_engine, parse_shapes, sizes_of
from fusee.cli.output import console, print_json
from fusee.engine.plan import Plan, PlanInput


def command(
    model: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="file.npz, name=file.npy, name=image.jpg, or image.jpg.", metavar="FILE"),
    ] = None,
    shapes: Shapes = "",
    resize: Annotated[str, typer.Option(help="Images: stretch, crop, fit or letterbox.")] = "stretch",
    mean: Annotated[str, typer.Option(help="Images: mean per channel, after scaling.")] = "0",
    std: Annotated[str, typer.Option(help="Images: standard deviation per channel.")] = "1",
    scale: Annotated[float, typer.Option(help="Images: factor for pixels of 0 to 255.")] = 1 / 255,
    bgr: Annotated[bool, typer.Option("--bgr", help="Images: blue first.")] = False,
    top: Annotated[int, typer.Option("--top", help="Print this many of the largest of each row; 0 for none.")] = 5,
    labels: Annotated[Path | None, typer.Option(help="Names of classes, one per line.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save all outputs as .npz.")] = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Run a model once and print its outputs."""
    engine = open_engine(model, parse_shapes(shapes), quiet=as_json)
    picture = (resize, _numbers(mean), _numbers(std), scale, bgr)
    feeds = read_inputs(engine.plan, inputs or [], parse_shapes(shapes), picture)
    with engine.session(threads or None) as session:
        results = session.run(feeds)
    if output is not None:
        np.savez(output, allow_pickle=False, **results)
    names = labels.read_text().splitlines() if labels else []
    if as_json:
        print_json({name: _described(array, top, names) for name, array in results.items()})
        return
    for name, array in results.items():
        _show(name, array, top, names)
    engine.close()


Picture = tuple[str, tuple[float, ...], tuple[float, ...], float, bool]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(x) for x in text.split(","))
    except ValueError:
        raise RequestError(f"{text!r}: expected numbers separated by commas, such as 0.485,0.456,0.406") from None


def read_inputs(plan: Plan, given: list[str], shapes: dict[str, tuple[int, ...]], picture: Picture) -> dict[str, Array]:
    """The inputs of a run from files; those not given are refused. Raises RequestError."""
    known = {i.name: i for i in plan.inputs}
    feeds: dict[str, Array] = {}
    for text in given:
        name, _, file = text.rpartition("=")
        path = Path(file)
        if not path.is_file():
            raise RequestError(f"--input {text}: {path} does not exist")
        if path.suffix == ".npz":
            feeds.update(_archive(path))
            continue
        item = known.get(name or _only(known, text))
        if item is None:
            raise RequestError(f"--input {text}: no input is called {name!r}; the inputs are {', '.join(known)}")
        feeds[item.name] = _read(path, item, plan, shapes, picture)
    if missing := sorted(known.keys() - feeds.keys()):
        listed = ", ".join(f"{name} ({known[name].type})" for name in missing)
        raise RequestError(f"inputs without a value: {listed}; give --input name=file.npy, a .npz or an image")
    return feeds


def _only(known: dict[str, PlanInput], text: str) -> str:
    if len(known) != 1:
        raise RequestError(f"--input {text}: the model has the inputs {', '.join(known)}; say which, as name={text}")
    return next(iter(known))


def _read(path: Path, item: PlanInput, plan: Plan, shapes: dict[str, tuple[int, ...]], picture: Picture) -> Array:
    if path.suffix == ".npy":
        return _array(path)
    from fusee.cli.images import read_image

    shape = item.type.bind(sizes_of(plan, shapes))
    return read_image(path, shape, item.type.dtype.numpy, picture)


def _array(path: Path) -> Array:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise RequestError(f"{path}: not an array that numpy can read; expected a .npy file of numbers") from None


def _archive(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (ValueError, EOFError, AttributeError, BadZipFile):
        raise RequestError(f"{path}: not arrays that numpy can read; expected a .npz file of numbers") from None


def _described(array: Array, top: int, labels: list[str]) -> dict[str, object]:
    facts: dict[str, object] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size <= 64:
        facts["values"] = array.tolist()
    if top and array.size > 1:
        facts["top"] = [
            [{"index": i, "label": _label(i, labels), "value": float(row[i])} for i in _largest(row, top)]
            for row in _rows(array)[:8]
        ]
    return facts


def _rows(array: Array) -> Array:
    """The array as rows along its last axis of more than one element, which is the classes' in [1,1000,1,1] too."""
    classes = next((d for d in reversed(array.shape) if d != 1), 1)
    return array.reshape(-1, classes)


def _largest(row: Array, top: int) -> list[int]:
    return [int(i) for i in np.argsort(-row.astype(np.float64), kind="stable")[:top]]


def _label(index: int, labels: list[str]) -> str:
    return labels[index] if index < len(labels) else ""


def _show(name: str, array: Array, top: int, labels: list[str]) -> None:
    shape = "x".join(map(str, array.shape)) or "scalar"
    console.print(f"[bold]{name}[/bold]: {array.dtype} {shape}", markup=True)
    if array.size <= 16:
        console.print(f"  {array.tolist()}", markup=False)
    elif array.dtype.kind != "b":
        wide = array.astype(np.float64)
        console.print(f"  min {wide.min():.6g}, mean {wide.mean():.6g}, max {wide.max():.6g}")
    if top and array.size > 1 and len(_rows(array)) <= 8:
        for row in _rows(array):
            found = ", ".join(f"{i} {_label(i, labels)} {row[i]:.5g}".replace("  ", " ") for i in _largest(row, top))
            console.print(f"  top {top}: {found}", markup=False)

"""Four cases through Assay: a genuine item, a counterfeit, blurred photographs and an item of an unknown model.

All photographs are drawn by ``assay.synthetic``, of models that the networks were not trained on.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from assay.cases import Verdict
from assay.synthetic import Condition, draw_case, draw_style, encode
from demo.client import Client, Reported
from demo.saying import OUT, say, title

HOME, PHOTOS, REPORTS = OUT / "assay", OUT / "photos", OUT / "reports"
MODELS = Path(__file__).parents[1] / "models/assay"
ENROLLED, UNKNOWN = (20_001, 20_002), 20_003  # seeds of invented models: training had others
REFERENCE_ITEMS = 12
FIRST_PORT = 8080
STAYS_S = 3600
NOTICE = "Demonstration: every photograph is synthetic, drawn by a program. No real brand or item is shown."


@dataclass(frozen=True)
class Example:
    """A case and the verdict that it ought to get."""

    name: str
    shown: int  # seed of the model in the photographs
    item: int  # seed of the object
    is_altered: bool
    condition: Condition
    expected: Verdict


CLAIMED = ENROLLED[0]
EXAMPLES = (
    Example("genuine", CLAIMED, 7_000_001, False, Condition.GOOD, Verdict.CONSISTENT),
    Example("counterfeit", CLAIMED, 7_000_002, True, Condition.GOOD, Verdict.NOT_CONSISTENT),
    Example("blurred", CLAIMED, 7_000_003, False, Condition.BLURRED, Verdict.NEEDS_PHOTOS),
    Example("unknown", UNKNOWN, 7_000_004, False, Condition.GOOD, Verdict.NOT_SUPPORTED),
)


def show() -> bool:
    """Whether all four verdicts are right."""
    address, key = start()
    title("Four cases of six photographs each")
    client = Client(address, key)
    reported = {example: _submitted(client, example) for example in EXAMPLES}
    _print_table(reported, address, key)
    return all(report.verdict == example.expected.value for example, report in reported.items())


def start() -> tuple[str, str]:
    """A new installation with two models enrolled, serving: its address and a key."""
    stop()
    for folder in (HOME, PHOTOS, REPORTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (HOME / "assay.toml").write_text(f"notice = {NOTICE!r}\n")
    title("An installation: engines for this machine, thresholds, a tenant and its key")
    key = _key(_assay("init", "--models", str(MODELS)))
    title(f"Two models enrolled from photographs of {REFERENCE_ITEMS} genuine items each, no training")
    _draw_references()
    for seed in ENROLLED:
        style = draw_style(seed)
        _assay("enroll", style.brand, style.model, str(PHOTOS / str(seed)))
    title("The web, the workers, the queue and the database start, in one process")
    address = _serve()
    say(f"  {address}")
    return address, key


def stop() -> None:
    """End what an earlier demonstration left running."""
    file = HOME / "serving.pid"
    if file.exists():
        subprocess.run(["kill", file.read_text()], check=False, stderr=subprocess.DEVNULL)
        file.unlink()


def _assay(*words: str) -> str:
    """Run a command as anyone would type it."""
    say(f"  $ assay {' '.join(words)}")
    command = [sys.executable, "-m", "assay", *words, "--home", str(HOME)]
    start = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    for line in done.stdout.splitlines():
        say(f"    {line}")
    say(f"    ({perf_counter() - start:.1f} s)")
    return done.stdout


def _key(printed: str) -> str:
    found = re.search(r"shown once: (\S+)", printed)
    assert found is not None, printed
    return found[1]


def _draw_references() -> None:
    start = perf_counter()
    with ProcessPoolExecutor() as pool:
        list(pool.map(_draw_item, *zip(*((s, n) for s in ENROLLED for n in range(REFERENCE_ITEMS)), strict=True)))
    say(f"  {len(ENROLLED) * REFERENCE_ITEMS * 6} photographs drawn ({perf_counter() - start:.1f} s)")


def _draw_item(seed: int, number: int) -> None:
    folder = PHOTOS / str(seed) / f"item {number + 1:02}"
    folder.mkdir(parents=True)
    for view, shot in draw_case(draw_style(seed), 1000 * seed + number).items():
        (folder / f"{view.value}.jpg").write_bytes(encode(shot))


def _serve() -> str:
    """Start the application, which outlives this command by an hour; its address once it answers."""
    log = (OUT / "assay.log").open("w")
    command = ["timeout", str(STAYS_S), sys.executable, "-m", "assay", "serve", "--home", str(HOME)]
    serving = subprocess.Popen(
        [*command, "--port", str(_free_port())],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    (HOME / "serving.pid").write_text(str(serving.pid))
    assert serving.stdout is not None
    found = re.search(r"http://\S+", serving.stdout.readline())
    if found is None:
        sys.exit((OUT / "assay.log").read_text())
    return found[0]


def _free_port() -> int:
    """FIRST_PORT, or any other where that is taken."""
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", FIRST_PORT))
        except OSError:
            return 0
    return FIRST_PORT


def photographs(example: Example) -> dict[str, bytes]:
    """Six JPEG files by view."""
    defects = None if example.is_altered else ()
    shots = draw_case(draw_style(example.shown), example.item, defects, condition=example.condition)
    return {view.value: encode(shot) for view, shot in shots.items()}


def _submitted(client: Client, example: Example) -> Reported:
    claim, photos = draw_style(CLAIMED), photographs(example)
    reported = client.report_on(claim.brand, claim.model, photos, example.name)
    for ending, content in client.files(reported.case_id).items():
        (REPORTS / f"{example.name}.{ending}").write_bytes(content)
    mark = "as expected" if reported.verdict == example.expected.value else f"EXPECTED {example.expected.value}"
    say(f"  {example.name:<12} {reported.verdict:<15} {mark}; {reported.total_ms:.0f} ms from photographs to report")
    return reported


def _print_table(reported: dict[Example, Reported], address: str, key: str) -> None:
    title("Where the time went, in ms")
    names = list(dict.fromkeys(name for report in reported.values() for name in report.stages_ms))
    say(f"  {'':<12} {' '.join(f'{name:>9}' for name in names)}     total")
    for example, report in reported.items():
        row = " ".join(f"{report.stages_ms[name]:>9.1f}" if name in report.stages_ms else " " * 9 for name in names)
        say(f"  {example.name:<12} {row} {report.total_ms:>9.1f}")
    title("The reports")
    for example, report in reported.items():
        say(f"  {example.name:<12} {address}/cases/{report.case_id}   anyone: {address}/verify/{report.report_id}")
    say(f"  as files: {REPORTS.relative_to(Path.cwd())}/*.html, .pdf, .json")
    say(f"\nThe web page is at {address}; sign in with the key {key}")
    say("It stays for an hour, or until: make demo-stop")

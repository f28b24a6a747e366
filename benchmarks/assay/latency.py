"""Six photographs to a report: how long it takes at light load, and how many a machine makes as more customers ask.

    python -m benchmarks.assay.latency --cases 100 --concurrency 1,2,4,8,16,32

An installation as a user makes it (SQLite, embedded queue, engines in the process), with one invented model enrolled,
is served as a process of its own; customers on the same machine send six JPEG photographs of 768 pixels in a form and
follow the case by server-sent events. The time is that from the first byte sent until the report is there. Every
tenant sends each set of photographs once, so that nothing is known before it comes. Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from threading import Lock
from time import perf_counter, sleep
from typing import Any

import numpy as np
import psutil

from assay.store import Store
from benchmarks.assay.customer import Customer, Form, Refused, Served
from benchmarks.assay.installed import Photographs, Serving, draw, install, new_key, opened_store, serving
from benchmarks.assay.latency_page import page
from benchmarks.machine import busy_core_s, load_average, machine_facts

RESULTS = Path(__file__).parents[1] / "results"
PAUSE_S = 0.05  # between cases at light load
WARMING = 6  # cases before anything is timed
OVERLOAD_CUSTOMERS, OVERLOAD_WAITING = 32, 8
PERCENTILES = (50, 95, 99)


class Work:
    """What customers send next. A key is of a tenant that has not sent these photographs yet."""

    def __init__(self, store: Store, drawn: Photographs) -> None:
        self._store = store
        claim = drawn.claim
        self._forms = [
            Form.of(claim.brand, claim.model, {view.value: photo for view, photo in case.items()})
            for case in drawn.cases
        ]
        self._numbers = count()
        self._lock = Lock()

    def of_one_customer(self) -> Iterator[tuple[str, Form]]:
        """Without end: a new tenant when all photographs were sent once."""
        while True:
            with self._lock:
                number = next(self._numbers)
            key = new_key(self._store, f"customer {number}")
            first = 7 * number % len(self._forms)  # customers do not send the same at once
            for form in (*self._forms[first:], *self._forms[:first]):
                yield key, form


@dataclass(frozen=True)
class Round:
    """What some customers saw in one stretch of time."""

    served: Sequence[Served]
    refused: Sequence[Refused]
    seconds: float
    process_core_s: float  # used by the installation's process
    other_core_s: float  # by all other processes: the customers, and whatever else the machine does
    resident_mib: float  # of the process, afterwards
    load: float

    @property
    def latencies_ms(self) -> list[float]:
        return [case.latency_ms for case in self.served]

    @property
    def reports_per_s(self) -> float:
        return len(self.served) / self.seconds


def measured(server: Serving, asking: Callable[[], list[Served | Refused]]) -> Round:
    process = psutil.Process(server.pid)
    busy_s, own_s, start_s = busy_core_s(), _core_s(process), perf_counter()
    answers = asking()
    seconds = perf_counter() - start_s
    own_s = _core_s(process) - own_s
    served = [answer for answer in answers if isinstance(answer, Served)]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    resident_mib = process.memory_info().rss / 2**20
    return Round(served, refused, seconds, own_s, busy_core_s() - busy_s - own_s, resident_mib, load_average())


def _core_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def one_after_another(server: Serving, work: Work, cases: int) -> list[Served | Refused]:
    """One customer, who pauses after each report."""
    answers: list[Served | Refused] = []
    with closing(Customer(server.address)) as customer:
        for _, (key, form) in zip(range(cases), work.of_one_customer(), strict=False):
            answers.append(customer.ask(key, form))
            sleep(PAUSE_S)
    return answers


def all_at_once(server: Serving, work: Work, customers: int, seconds: float) -> list[Served | Refused]:
    """As many customers, each of whom sends the next case when the report is there. Those refused wait as told."""
    until_s = perf_counter() + seconds

    def one(_: int) -> list[Served | Refused]:
        answers: list[Served | Refused] = []
        with closing(Customer(server.address)) as customer:
            for key, form in work.of_one_customer():
                if perf_counter() >= until_s:
                    return answers
                answers.append(customer.ask(key, form))
                if isinstance(refused := answers[-1], Refused):
                    sleep(min(refused.retry_after_s, max(0.0, until_s - perf_counter())))
        raise AssertionError("there is always a next case")

    with ThreadPoolExecutor(customers) as pool:
        return [answer for answers in pool.map(one, range(customers)) for answer in answers]


def stage_means_ms(server: Serving, key: str) -> dict[str, tuple[int, float]]:
    """From the metrics page, since the process began: how often each stage was done, and its seconds altogether."""
    with closing(Customer(server.address)) as customer:
        lines = customer.content(key, "/metrics").decode().splitlines()
    found: dict[str, dict[str, float]] = {}
    for line in lines:
        if line.startswith(("stage_duration_seconds_sum{", "stage_duration_seconds_count{")):
            name, _, value = line.rpartition(" ")
            stage = name.partition('stage="')[2].partition('"')[0]
            found.setdefault(stage, {})[name.partition("{")[0].rpartition("_")[2]] = float(value)
    return {stage: (int(of["count"]), of["sum"]) for stage, of in found.items()}


def percentiles_ms(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)}


def described(rounds: Sequence[Round]) -> dict[str, Any]:
    """All rounds of one load together, with the spread over them."""
    latencies = [ms for each in rounds for ms in each.latencies_ms]
    cases, seconds = len(latencies), sum(each.seconds for each in rounds)
    core_s = sum(each.process_core_s for each in rounds)
    refused = Counter(str(refusal.status) for each in rounds for refusal in each.refused)
    return {
        "cases": cases,
        "latency_ms": percentiles_ms(latencies),
        "p95_ms_by_round": [percentiles_ms(each.latencies_ms).get("p95") for each in rounds],
        "reports_per_s": cases / seconds,
        "reports_per_s_by_round": [each.reports_per_s for each in rounds],
        "refused": dict(refused),
        "refused_answer_ms": percentiles_ms([r.answer_ms for each in rounds for r in each.refused]),
        "core_ms_per_case": core_s / cases * 1e3 if cases else None,
        "cores_used": core_s / seconds,
        "cores_used_by_others": sum(each.other_core_s for each in rounds) / seconds,
        "resident_mib": rounds[-1].resident_mib,
        "load_average": [each.load for each in rounds],
    }


def described_steps(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """As the customer sees it, and then as the reports tell their stages."""
    served = [case for each in rounds for case in each.served]
    steps = {
        "send, until accepted": [(case.accepted_s - case.begun_s) * 1e3 for case in served],
        "follow, until reported": [(case.told_s - case.accepted_s) * 1e3 for case in served],
        "fetch report.json": [(case.fetched_s - case.told_s) * 1e3 for case in served],
    }
    for name in dict.fromkeys(name for case in served for name in case.stages_ms):
        steps[f"stage: {name}"] = [case.stages_ms[name] for case in served if name in case.stages_ms]
    return {name: percentiles_ms(values) for name, values in steps.items()}


def measure(home: Path, drawn: Photographs, asked: argparse.Namespace) -> dict[str, Any]:
    key = install(home, drawn)
    store = opened_store(home)
    work = Work(store, drawn)
    levels = [int(level) for level in asked.concurrency.split(",") if level]
    with closing(store):
        with serving(home) as server:
            one_after_another(server, work, WARMING)
            before = stage_means_ms(server, key)
            cases = max(1, asked.cases // asked.rounds)
            light = [measured(server, lambda: one_after_another(server, work, cases)) for _ in range(asked.rounds)]
            after = stage_means_ms(server, key)
            curve: dict[int, list[Round]] = {level: [] for level in levels}
            for _ in range(asked.rounds):
                for level, rounds in curve.items():
                    rounds.append(measured(server, lambda n=level: all_at_once(server, work, n, asked.seconds)))
        overload: list[Round] = []
        if levels:
            with serving(home, {"ASSAY_MOST_WAITING": str(OVERLOAD_WAITING)}) as server:
                one_after_another(server, work, WARMING)
                flood = measured(server, lambda: all_at_once(server, work, OVERLOAD_CUSTOMERS, asked.seconds))
                overload.append(flood)
    return {
        "light": described(light),
        "steps_ms": described_steps(light),
        "mean_ms_in_process": _between(before, after, len(light) * cases),
        "verdicts": Counter(case.verdict for each in light for case in each.served),
        "curve": {str(level): described(rounds) for level, rounds in curve.items()},
        "overload": described(overload) if overload else None,
        "overload_setting": {"customers": OVERLOAD_CUSTOMERS, "most_waiting": OVERLOAD_WAITING},
    }


def _between(
    before: dict[str, tuple[int, float]], after: dict[str, tuple[int, float]], cases: int
) -> dict[str, dict[str, float]]:
    """Stages as the process counted them in between: how often for each case, and the mean."""
    spent: dict[str, dict[str, float]] = {}
    for stage, (times, seconds) in after.items():
        earlier_times, earlier_seconds = before.get(stage, (0, 0.0))
        if times > earlier_times:
            mean_ms = (seconds - earlier_seconds) / (times - earlier_times) * 1e3
            spent[stage] = {"times_per_case": (times - earlier_times) / cases, "mean_ms": mean_ms}
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="at light load, in all rounds together")
    parser.add_argument("--concurrency", default="1,2,4,8,16,32", help="customers at once; '' for light load alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each round of each concurrency")
    parser.add_argument("--sets", type=int, default=24, help="different sets of six photographs")
    parser.add_argument("--references", type=int, default=6, help="genuine items enrolled")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result page")
    asked = parser.parse_args()
    drawn = draw(asked.references, asked.sets)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), drawn, asked)
    today = date.today().isoformat()
    options = (
        f"--cases {asked.cases} --concurrency '{asked.concurrency}' --rounds {asked.rounds} "
        f"--seconds {asked.seconds:g} --sets {asked.sets} --references {asked.references}"
    )
    document = {
        "date": today,
        "command": f"python -m benchmarks.assay.latency {options}",
        "machine": machine_facts(),
        "references": asked.references,
        "photo_set_mib": float(np.mean([sum(map(len, case.values())) for case in drawn.cases])) / 2**20,
        **found,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"{today}-assay-latency.json").write_text(json.dumps(document, indent=1) + "\n")
    (asked.out / f"{today}-assay-latency.md").write_text(page(document))
    print(page(document))


if __name__ == "__main__":
    main()

"""The page docs/serving-conformance.md: every case, with every client, beside the real Triton.

    python -m server.conformance.table      in tests/

asks Fusee all cases, compares with Triton's answers as written down, and writes the page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from server.conformance.answers import CASES, Answers, ask, read
from server.conformance.case import Case
from server.conformance.clients import FORMS
from server.conformance.differences import FATAL_TO_TRITON, reasons
from server.conformance.error_cases import ERRORS
from server.conformance.flow_cases import FLOW
from server.conformance.fusee_peer import fusee_with_models
from server.conformance.records import Record
from server.conformance.service_cases import SERVICE
from server.conformance.tensor_cases import TENSORS
from server.conformance.wire_cases import WIRE

PAGE = Path(__file__).parents[3] / "docs" / "serving-conformance.md"
SECTIONS = {
    "Health, metadata, configuration, repository, statistics, settings": SERVICE,
    "Tensors: types, shared memory, compression, classes": TENSORS,
    "Requests that are wrong, and options": ERRORS,
    "Several requests and answers: asynchronous, streams, deadlines": FLOW,
    "Bodies and messages that no client writes": WIRE,
}
INTRODUCTION = """# Conformance

Fusee beside Triton Inference Server 2.51 (the one in the `nvidia-pytriton` 0.7.0 wheel, Python backend) on the same
models: {cases} cases, {asked} with their clients, which are Triton's own for Python (`tritonclient` 2.73), plain HTTP
and the generated gRPC stub. Compared are status, every field of the answer and every bit of the tensors; of an error's
words, that what is wrong is named. {same} answers are the same, {differing} differ in a field for a reason given below,
{fatal} cannot be compared, for Triton ends. `tests/server/conformance` holds all of this, and fails when it changes.

`=` the same, a number the reason of a difference, `†` Triton's process ends, blank not asked.
Written by `python -m server.conformance.table` in `tests/`.
"""
Found = Callable[[Case, str], Record]


def page(fusee: Found, triton: Answers) -> str:
    """The page, from what Fusee answers to a case with a client."""
    numbers: dict[str, int] = {}
    marks = {(case.name, form): _mark(case, form, fusee, triton, numbers) for case in CASES for form in case.forms}
    shown = list(marks.values())
    introduction = INTRODUCTION.format(
        cases=len(CASES),
        asked=len(shown),
        same=shown.count("="),
        fatal=shown.count("†"),
        differing=len(shown) - shown.count("=") - shown.count("†"),
    )
    listed = [f"{number}. {reason}" for reason, number in numbers.items()]
    fatal = [f"- † {name}: {each.reason}" for name, each in FATAL_TO_TRITON.items()]
    sections = [_section(title, cases, marks) for title, cases in SECTIONS.items()]
    return "\n".join([introduction, "## Reasons\n", *listed, "", *fatal, "", *sections])


def _mark(case: Case, form: str, fusee: Found, triton: Answers, numbers: dict[str, int]) -> str:
    if case.name in FATAL_TO_TRITON:
        return "†"
    why = reasons(case.name, fusee(case, form), triton[case.name][form]).values()
    known = dict.fromkeys(each.reason if each else "not meant" for each in why)
    return ", ".join(str(numbers.setdefault(reason, len(numbers) + 1)) for reason in known) or "="


def _section(title: str, cases: list[Case], marks: dict[tuple[str, str], str]) -> str:
    head = [f"## {title}", "", f"| case | {' | '.join(FORMS)} |", "|---" * (len(FORMS) + 1) + "|"]
    rows = [f"| {case.name} | {' | '.join(marks.get((case.name, form), '') for form in FORMS)} |" for case in cases]
    return "\n".join([*head, *rows, ""])


def main() -> None:
    with fusee_with_models() as addresses:
        PAGE.write_text(page(cache(lambda case, form: ask(case, form, addresses)), read()))
    print(f"{PAGE.name} is written")


if __name__ == "__main__":
    main()

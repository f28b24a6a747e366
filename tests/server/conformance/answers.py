"""What the real Triton answers to every case: asked, written down, read.

    python -m server.conformance.answers      in tests/, with a Triton installed (make triton)

rewrites ``triton_answers.json``, so that Fusee can be compared with Triton where none is installed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import grpc
from benchmarks.serving.triton_peer import ATTEMPTS, TritonError, running, triton_home
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from server.conformance.case import Case
from server.conformance.clients import Addresses, PlainHttp, open_client
from server.conformance.differences import FATAL_TO_TRITON
from server.conformance.error_cases import ERRORS
from server.conformance.flow_cases import FLOW
from server.conformance.model_set import MODELS
from server.conformance.records import Record, error_record
from server.conformance.repositories import write_triton
from server.conformance.service_cases import SERVICE
from server.conformance.tensor_cases import TENSORS
from server.conformance.wire_cases import WIRE

CASES = (*SERVICE, *TENSORS, *ERRORS, *FLOW, *WIRE)
FILE = Path(__file__).with_name("triton_answers.json")
Answers = dict[str, dict[str, Record]]
"""Records by case, then by client."""


def ask(case: Case, form: str, addresses: Addresses) -> Record:
    """The record of a case asked with a client of that form; an error that the case does not expect is one too."""
    with open_client(form, addresses) as client:
        try:
            record = case.ask(client)
        except InferenceServerException as err:
            record = error_record(err.status(), err.message(), ())
        except grpc.RpcError as err:
            record = error_record(str(err.code()), err.details(), ())
    return json.loads(json.dumps(record))


@contextmanager
def triton_with_models(home: Path) -> Generator[Addresses]:
    """The real Triton with the model set."""
    with tempfile.TemporaryDirectory() as folder:
        write_triton(Path(folder))
        loads = [f"--load-model={model.name}" for model in MODELS if model.is_loaded]
        with running(
            home, Path(folder), ["--model-control-mode=explicit", "--strict-readiness=false", *loads]
        ) as found:
            yield Addresses(found.http, found.grpc)


class Triton:
    """The real Triton, asked case by case, and started again when it has ended: 2.51 does so now and then, at streams
    most of all."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started = ExitStack()
        self._addresses = self._started.enter_context(triton_with_models(home))

    def ask(self, case: Case, form: str) -> Record:
        """What it answers. Raises TritonError when it ends each time."""
        for _ in range(ATTEMPTS):
            try:
                record = ask(case, form, self._addresses)
            except (OSError, HTTPConnectionClosed):
                if self._is_live():
                    raise
                record = None
            if self._is_live():
                return record
            self.close()
            self._addresses = self._started.enter_context(triton_with_models(self._home))
        raise TritonError(f"Triton ends when it is asked {case.name!r} with {form}")

    def _is_live(self) -> bool:
        try:
            return PlainHttp(self._addresses.http).ask("GET", "/v2/health/live").status == 200
        except OSError:
            return False

    def close(self) -> None:
        self._started.close()


def read() -> Answers:
    """Triton's answers as written down."""
    return {
        case: {form: one["record"] for one in found for form in one["clients"]}
        for case, found in json.loads(FILE.read_text()).items()
    }


def write(answers: Answers) -> None:
    """One line per case; clients that were answered alike stand together."""
    lines = (
        f"{json.dumps(case)}: {json.dumps(_together(records), sort_keys=True)}" for case, records in answers.items()
    )
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _together(records: dict[str, Record]) -> list[Record]:
    found: list[Record] = []
    for form, record in records.items():
        alike = next((one for one in found if one["record"] == record), None)
        if alike is None:
            found.append({"clients": [form], "record": record})
        else:
            alike["clients"].append(form)
    return found


def main() -> None:
    home = triton_home()
    if home is None:
        sys.exit("no Triton is installed here: make triton")
    asked = [case for case in CASES if case.name not in FATAL_TO_TRITON]
    with closing(Triton(home)) as triton:
        answers = {case.name: {form: triton.ask(case, form) for form in case.forms} for case in asked}
    write(answers)
    print(f"{len(answers)} cases, {sum(map(len, answers.values()))} with their clients -> {FILE.name}")


if __name__ == "__main__":
    main()

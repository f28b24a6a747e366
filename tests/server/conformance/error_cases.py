"""Cases of inference requests that are wrong, as the clients can send them, and of their options."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from server.conformance.case import Case, Cases
from server.conformance.clients import ALL, BOTH_HTTP, Client, In, Out, refused
from server.conformance.records import Record
from server.conformance.service_cases import NUMBERS, SUMMANDS

ERRORS = Cases()
ONE, OTHER = SUMMANDS
NINE = np.zeros((9, 16), np.int32)


class Wrong(NamedTuple):
    """A request that is refused, and what the message is to name."""

    name: str
    model: str
    inputs: Sequence[In]
    names: tuple[str, ...]
    outputs: Sequence[Out] | None = None
    version: str = ""


WRONG = (
    Wrong("unknown model", "unknown", SUMMANDS, ("unknown",)),
    Wrong("unknown version", "simple", SUMMANDS, ("simple",), version="7"),
    Wrong("a version that is no number", "simple", SUMMANDS, ("first",), version="first"),
    Wrong("model not loaded", "spare", SUMMANDS, ("spare",)),
    Wrong("unknown input", "simple", (ONE, In("NOPE", NUMBERS)), ("simple",)),
    Wrong("missing input", "simple", (ONE,), ("simple",)),
    Wrong("too many inputs", "simple", (*SUMMANDS, In("MORE", NUMBERS)), ("simple",)),
    Wrong("the same input twice", "simple", (ONE, ONE), ("INPUT0",)),
    Wrong("unknown output", "simple", SUMMANDS, ("NOPE",), (Out("NOPE"),)),
    Wrong("the same output twice", "simple", SUMMANDS, ("OUTPUT0",), (Out("OUTPUT0"), Out("OUTPUT0"))),
    Wrong("wrong data type", "simple", (In("INPUT0", NUMBERS.astype(np.float32)), OTHER), ("INPUT0", "FP32", "INT32")),
    Wrong("wrong size of an axis", "simple", (In("INPUT0", NUMBERS[:, :8]), OTHER), ("INPUT0", "16")),
    Wrong("axis missing", "simple", (In("INPUT0", NUMBERS[0]), OTHER), ("INPUT0", "16")),
    Wrong("axis too many", "simple", (In("INPUT0", NUMBERS[np.newaxis]), OTHER), ("INPUT0", "16")),
    Wrong("batch too large", "simple", (In("INPUT0", NINE), In("INPUT1", NINE)), ("simple", "8")),
    Wrong("batch of none", "simple", (In("INPUT0", NINE[:0]), In("INPUT1", NINE[:0])), ()),
    Wrong("inputs of two batch sizes", "simple", (In("INPUT0", NINE[:2]), In("INPUT1", NINE[:3])), ("INPUT1",)),
    Wrong(
        "fewer bytes than the shape says", "simple", (In("INPUT0", NUMBERS[:, :8], shape=(1, 16)), OTHER), ("INPUT0",)
    ),
    Wrong("more bytes than the shape says", "simple", (In("INPUT0", NINE[:2], shape=(1, 16)), OTHER), ("INPUT0",)),
    Wrong("negative size", "identity_fp32", (In("INPUT0", np.ones((1, 2), np.float32), shape=(1, -2)),), ()),
    Wrong("a decoupled model asked for one answer", "repeat", (In("IN", np.ones(2, np.int32)),), ()),
    Wrong(
        "wrong sizes without a batch axis",
        "no_batch",
        (In("INPUT0", np.ones((2, 4), np.float32)), In("INPUT1", np.ones((2, 1), np.float32))),
        ("INPUT0",),
    ),
    Wrong("wrong input of an ensemble", "chain", (In("INPUT0", NUMBERS[:, :8]), OTHER), ("INPUT0",)),
    Wrong("unknown output of an ensemble", "chain", SUMMANDS, ("sum",), (Out("sum"),)),
    Wrong(
        "classes of strings",
        "identity_bytes",
        (In("INPUT0", np.array([[b"a"]], object)),),
        ("OUTPUT0",),
        (Out("OUTPUT0", classes=1),),
    ),
)


def _wrong(wrong: Wrong, client: Client) -> Record:
    return refused(
        wrong.names, lambda: client.infer(wrong.model, wrong.inputs, wrong.outputs, model_version=wrong.version)
    )


ERRORS += [Case(wrong.name, ALL, partial(_wrong, wrong)) for wrong in WRONG]


@ERRORS.case("wrong JSON data", *BOTH_HTTP)
def _(client: Client) -> Record:
    given = In("INPUT0", NUMBERS, is_binary=False, shape=(1, 15)), OTHER
    return refused(("INPUT0",), lambda: client.infer("simple", given))


OPTIONS: dict[str, dict[str, Any]] = {
    "parameters of one's own": {"parameters": {"text": "word", "number": 7, "flag": True}},
    "priority": {"priority": 1},
    "timeout": {"timeout": 10_000_000},
    "headers": {"headers": {"x-of-mine": "1"}},
    "sequence": {"sequence_id": 17, "sequence_start": True, "sequence_end": True},
}


def _with(options: dict[str, Any], client: Client) -> Record:
    own = copy.deepcopy(options)  # the HTTP clients write into the headers that they are given
    return refused((), lambda: client.infer("simple", SUMMANDS, **own))


ERRORS += [Case(f"infer with {name}", ALL, partial(_with, options)) for name, options in OPTIONS.items()]
ERRORS += [Case("infer with a query", BOTH_HTTP, partial(_with, {"query_params": {"mine": "a b"}}))]


@ERRORS.case("priorities beyond the levels", *ALL)
def _(client: Client) -> Record:
    given = [In("DELAY_MS", np.zeros((1, 1), np.uint32))]
    return {level: refused((), lambda p=level: client.infer("slow", given, priority=p)) for level in (0, 1, 2, 3)}

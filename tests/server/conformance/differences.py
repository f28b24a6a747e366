"""Where Fusee answers otherwise than Triton 2.51, on purpose: every such place, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from server.conformance.records import Record, differences


class Fatal(NamedTuple):
    """A case that ends Triton's process, always or now and then, so that there is nothing to compare with."""

    reason: str
    is_refused: bool  # by Fusee


FATAL_TO_TRITON: Mapping[str, Fatal] = {
    "classes of strings": Fatal("Triton's process ends; Fusee says that strings cannot be ranked", True),
    "a stream of two models": Fatal("Triton's process ends now and then; Fusee answers", False),
}


class Difference(NamedTuple):
    """Fields of the records of some cases, both as patterns of fnmatch."""

    cases: str
    fields: str
    reason: str


BLAME = "the request is at fault, so it is answered as such; Triton says that it failed inside"
NOT_THERE = "what is not there is not found, as everywhere else; Triton says otherwise in this call"
STRICT = "what cannot be meant is refused; Triton takes it, and changes or drops it"
TRACES = "traces are Chrome's or OpenTelemetry's; Triton has a form of its own"
NAMES = "each server's own name for what runs the model"

DIFFERENCES = (
    Difference("server metadata", "name", "each server's own name"),
    Difference("server metadata", "version", "each server's own version"),
    Difference("server metadata", "extensions.sequence", "sequences are not offered"),
    Difference("server metadata", "extensions.cuda_shared_memory", "CUDA shared memory is not offered"),
    Difference("metadata of *", "platform", NAMES),
    Difference("configuration of *", "*backend", NAMES),
    Difference("configuration of *", "*platform", NAMES),
    Difference("configuration of *", "*default_model_filename", NAMES),
    Difference("configuration of *", "*instance_group.0.*", "a pipeline runs several requests at a time if not told"),
    Difference("configuration of chain", "*max_inflight_requests", "a field that is younger than Triton 2.51"),
    Difference("metadata of what is not there", "no number.error.status", NOT_THERE),
    Difference("a version that is no number", "error.status", NOT_THERE),
    Difference("statistics of what is not there", "*.error.status", NOT_THERE),
    Difference("trace settings of a model", "unknown.error.status", NOT_THERE),
    Difference("load what cannot be loaded", "unknown.error.status", NOT_THERE),
    Difference("load what cannot be loaded", "config.error.status", BLAME),
    Difference("load with another configuration", ".1", "a plain load takes the repository's configuration again"),
    Difference("statistics move", "fail", "a request that is refused has failed; Triton does not count it"),
    Difference("trace settings that are wrong", "level.*", STRICT),
    Difference("trace settings that are wrong", "name.*", STRICT),
    Difference("trace settings*", "*trace_mode*", TRACES),
    Difference("gRPC settings", "trace.settings.trace_mode*", TRACES),
    Difference("log settings that are wrong", "*", STRICT),
    Difference("HTTP logging and tracing", "*", STRICT),
    Difference("an ensemble", "parameters.*", "parameters that nobody gave are not answered"),
    Difference("outputs in the order asked for", "*", "outputs come in the order that the request names them"),
    Difference("shared memory, wrong places", "output too large.error.status", BLAME),
    Difference("shared memory, wrong registrations", "no such key.error.status", BLAME),
    Difference("the same output twice", "*", STRICT),
    Difference("infer with sequence", "*", "sequences are not offered, and not passed over either"),
    Difference("a full queue", "*", "a full queue is RESOURCE_EXHAUSTED: clients wait before they ask again"),
    Difference("*several answers*", "*.model_version", "the last, empty answer names its model's version too"),
    Difference("no answer but*", "*.model_version", "the last, empty answer names its model's version too"),
    Difference("negative size", "error.status", BLAME),
    Difference("wrong JSON data", "error.status", BLAME),
    Difference(
        "HTTP body: floats", "body.outputs.0.data.*", "FP32 is written with the fewest digits that read back alike"
    ),
    Difference("HTTP body: a number beyond its type", "*", STRICT),
    Difference("HTTP body: a shape of floats", "*", "1.0 is a whole number, as JSON Schema says"),
    Difference("HTTP body: *", "error.status", BLAME),
    Difference(
        "HTTP binary: one output not", "*", "binary_data_output holds for outputs that do not say, as it is defined"
    ),
    Difference("HTTP binary: nothing but the tensor", "strings.*", "a string may be sent bare to shape [-1] as well"),
    Difference("HTTP binary: wrong *", "*.error.status", BLAME),
    Difference("HTTP names in percent encoding", "/v2/models/sim%70le/ready", "names are decoded, as URLs say"),
    Difference("HTTP repository calls that are wrong", "*.error.status", BLAME),
    Difference("HTTP encodings", "gzip cut off.error.status", BLAME),
    Difference("gRPC message: typed beyond its type", "*", STRICT),
    Difference("gRPC message: too many raw contents", "*", STRICT),
    Difference("gRPC message that is none", "error.status", BLAME),
    Difference("gRPC health service", "nothing.*", "a service that is not there is NOT_FOUND, as gRPC's protocol says"),
)


def reasons(case: str, ours: Record, theirs: Record) -> dict[str, Difference | None]:
    """The fields in which two records differ, each with its place in the table; None for a difference not meant."""
    return {field: _place(case, field) for field in differences(ours, theirs)}


def _place(case: str, field: str) -> Difference | None:
    return next((d for d in DIFFERENCES if fnmatchcase(case, d.cases) and fnmatchcase(field, d.fields)), None)

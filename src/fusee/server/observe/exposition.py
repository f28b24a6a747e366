"""Prometheus's text format, and OpenMetrics: families of samples in, lines out.

Formats: Prometheus "Exposition formats" (text 0.0.4) and OpenMetrics 1.0.0. They differ in the end mark, in exemplars,
and in that OpenMetrics has no counter whose samples do not end in ``_total``: such a family is ``unknown`` there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from fusee.server.statistics import Histogram

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Exemplar(NamedTuple):
    """A request that fell into a histogram's bucket, and can be looked at as a trace."""

    trace_id: str
    value: float
    time_s: float  # since 1970


Labels = Mapping[str, str]
Exemplars = Mapping[int, Exemplar]
"""By the bucket's place in ``Histogram.counts``."""


class Sample(NamedTuple):
    labels: Labels
    value: float | Histogram
    exemplars: Exemplars = {}


class Family(NamedTuple):
    """A metric: its samples differ in labels alone."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[Sample]


def exposition(families: Iterable[Family], openmetrics: bool = False) -> bytes:
    """The families as text. One without samples is left out."""
    lines: list[str] = []
    for family in families:
        samples = [line for sample in family.samples for line in _lines(family, sample, openmetrics)]
        if samples:
            lines += [*_head(family, openmetrics), *samples]
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _head(family: Family, openmetrics: bool) -> tuple[str, str]:
    name, kind = family.name, family.kind.value
    if openmetrics and family.kind is Kind.COUNTER:
        stem = name.removesuffix("_total")
        name, kind = (stem, kind) if stem != name else (name, "unknown")
    return f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} {kind}"


def _lines(family: Family, sample: Sample, openmetrics: bool) -> list[str]:
    if isinstance(sample.value, Histogram):
        return _histogram_lines(family.name, sample, sample.value, openmetrics)
    return [f"{family.name}{_braces(sample.labels)} {_number(sample.value)}"]


def _histogram_lines(name: str, sample: Sample, histogram: Histogram, openmetrics: bool) -> list[str]:
    lines: list[str] = []
    below = 0
    bounds = [*(_bound(b) for b in histogram.bounds), "+Inf"]
    for place, (bound, count) in enumerate(zip(bounds, histogram.counts, strict=True)):
        below += count
        exemplar = sample.exemplars.get(place) if openmetrics else None
        lines.append(f"{name}_bucket{_braces(sample.labels, bound)} {below}{_exemplar(exemplar)}")
    labels = _braces(sample.labels)
    return [*lines, f"{name}_sum{labels} {_number(histogram.total)}", f"{name}_count{labels} {below}"]


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    return f' # {{trace_id="{_escaped_label(exemplar.trace_id)}"}} {exemplar.value!r} {exemplar.time_s:.3f}'


def _braces(labels: Labels, bound: str = "") -> str:
    pairs = [f'{name}="{_escaped_label(value)}"' for name, value in labels.items()]
    if bound:
        pairs.append(f'le="{bound}"')
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _bound(value: float) -> str:
    """A bound as both formats want it: a float with a point or an exponent, without the noise of its last bits."""
    return repr(float(f"{value:.12g}"))


def _number(value: float) -> str:
    return repr(value) if isinstance(value, int) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped_label(text: str) -> str:
    return _escaped(text).replace('"', '\\"')

"""From a model to an engine that has proved itself: one line per stage, and the retries when it has not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, NoReturn

import onnx

from fusee.base.errors import UnsupportedModel, VerifyError
from fusee.base.given import given_sizes
from fusee.base.switches import check_level
from fusee.base.target import CpuTarget, detect_cpu
from fusee.base.types import Array
from fusee.engine.artifact import Artifact
from fusee.engine.load import load as load_artifact
from fusee.engine.weights import pack_weights
from fusee.ir.compare import Difference
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value, const_array, input_op
from fusee.ir.passes import Pass, PassRecord, run_pipeline
from fusee.kernels.cpu import CPU
from fusee.kernels.cpu.compile import Compiler, Source
from fusee.kernels.cpu.dispatch import DECLARATIONS as DISPATCH_DECLARATIONS
from fusee.kernels.cpu.dispatch import DISPATCH_TEXT
from fusee.kernels.kernel import Kernel, KernelCall, Operand
from fusee.onnx.importer import import_model
from fusee.passes import pipeline
from fusee.planner.plan import Planned, Planner
from fusee.planner.select import accepts
from fusee.planner.unfuse import unfuse
from fusee.portable import pack_graph, unpack_graph
from fusee.runtime.engine import Engine
from fusee.verification.blame import Blame, blame_step, find_blame
from fusee.verification.certificate import certificate, compare_all
from fusee.verification.samples import Sample, given_sample, make_samples
from fusee.verification.watch import show_sources, show_steps

MAX_ATTEMPTS = 4  # each leaves out one more pass or kernel
Progress = Callable[[str, float], None]  # stage, share of the build that is done when it begins
STAGES = (("import", 0.0), ("reference", 0.1), ("optimise", 0.35), ("plan", 0.45), ("compile", 0.6), ("verify", 0.85))


@dataclass(frozen=True)
class BuildOptions:
    """What a build may be told. ``shapes`` are sizes to verify at, for inputs whose sizes are names."""

    target: CpuTarget | None = None  # None: this machine
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    inputs: tuple[Mapping[str, Array], ...] = ()  # inputs to verify on, instead of random ones
    samples: int = 2  # sets of random inputs that the engine is judged on
    seed: int = 0
    portable: bool = False  # take the model's graph and weights along, so that other machines can build from the engine


@dataclass(frozen=True)
class BuildReport:
    """What a build did: for the summary, and for `fusee inspect`."""

    nodes_before: int
    nodes_after: int
    passes: tuple[PassRecord, ...]
    seconds: Mapping[str, float]
    excluded: tuple[Blame, ...]
    certificate: Mapping[str, Any]

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Built:
    """A verified engine and how it came about."""

    artifact: Artifact
    report: BuildReport


class _Clock:
    """Times stages and tells the caller which one begins."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._stage = ""
        self._start = perf_counter()

    def begin(self, stage: str) -> None:
        now = perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._start
        self._stage, self._start = stage, now
        if self._progress and stage:
            self._progress(stage, dict(STAGES)[stage])


def build(
    source: str | Path | onnx.ModelProto, options: BuildOptions | None = None, progress: Progress | None = None
) -> Engine:
    """Compile a model into an engine for one machine. Raises ModelError; VerifyError when it cannot be made right."""
    return Engine(build_artifact(source, options, progress).artifact)


class _Callable(ModuleType):
    """``fusee.build`` names this module and its main function: importing the one must not hide the other."""

    def __call__(self, *arguments: Any, **named: Any) -> Engine:
        return build(*arguments, **named)


sys.modules[__name__].__class__ = _Callable


def build_artifact(
    source: str | Path | onnx.ModelProto,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
    compiler: Compiler | None = None,
) -> Built:
    """What ``build`` does, with the record of how it went. A ``compiler`` of many builds is given by its owner."""
    options = options or BuildOptions()
    clock = _Clock(progress)
    with nullcontext(compiler) if compiler else Compiler(options.target or detect_cpu()) as used:
        clock.begin("import")
        graph = graph_of(source)
        clock.begin("reference")
        samples = _samples(graph, options)
        return _Attempts(graph, samples, used, options, clock).run()


def graph_of(source: str | Path | onnx.ModelProto) -> Graph:
    """The graph of an ONNX model, or of the model that an engine carries."""
    if isinstance(source, (str, Path)) and Path(source).suffix == ".fusee":
        return unpack_graph(load_artifact(source, None))
    return import_model(source)


def _samples(graph: Graph, options: BuildOptions) -> list[Sample]:
    given_sizes({input_op(v).name: v.type for v in graph.inputs}, options.shapes)
    if options.inputs:
        return [given_sample(graph, feeds) for feeds in options.inputs]
    return make_samples(graph, options.seed, options.samples, options.shapes)


def bisect(source: str | Path | onnx.ModelProto, options: BuildOptions | None = None) -> Blame | None:
    """The first pass, else the first step, that computes something else than the reference; None when none does."""
    options = options or BuildOptions()
    with Compiler(options.target or detect_cpu()) as compiler:
        graph = graph_of(source)
        samples = _samples(graph, options)
        attempts = _Attempts(graph, samples, compiler, options, _Clock(None))
        return attempts.blame(*run_pipeline(graph, attempts.passes()), samples[0])


class _Attempts:
    """Builds until the engine is right: each failure names a pass or a kernel, which the next attempt leaves out."""

    def __init__(
        self, graph: Graph, samples: Sequence[Sample], compiler: Compiler, options: BuildOptions, clock: _Clock
    ) -> None:
        self.graph, self.samples, self.compiler, self.options, self.clock = graph, samples, compiler, options, clock
        self.target = compiler.target
        self.excluded: list[Blame] = []

    def run(self) -> Built:
        for _ in range(MAX_ATTEMPTS):
            self.clock.begin("optimise")
            optimised, records = run_pipeline(self.graph, self.passes(), self._check_feeds())
            self.clock.begin("plan")
            planned = self._plan(optimised)
            self.clock.begin("compile")
            show_sources(planned.book.texts)
            artifact = self._assemble(planned)
            self.clock.begin("verify")
            differences = self._judge(artifact)
            fault = self._fault(optimised, records, differences)
            if fault is None:
                return self._finish(artifact, optimised, records, differences)
            self.excluded.append(replace(fault, kernel=self._kernel_of(fault)))
        raise VerifyError(f"{self.graph.name}: still wrong after leaving out {_listed(self.excluded)}; not saved")

    def passes(self) -> tuple[Pass, ...]:
        left_out = {b.name for b in self.excluded if b.kind == "pass"}
        return tuple(p for p in pipeline(self._accepts) if p.name not in left_out)

    def _accepts(self, op: Op, operands: tuple[Value, ...]) -> bool:
        """Whether some kernel computes the op on these operands."""
        given = [Operand(v.type, None, const_array(v)) for v in operands]
        return accepts(CPU, KernelCall.of(op, given, self.target), self._is_banned) is not None

    def _is_banned(self, kernel: Kernel, call: KernelCall) -> bool:
        types = tuple(o.type for o in call.operands)
        return any(b.kernel == kernel.name and b.matches(call.op, types) for b in self.excluded)

    def _check_feeds(self) -> dict[str, Array] | None:
        return self.samples[0].feeds if self.samples else None

    def _plan(self, graph: Graph) -> Planned:
        planner = Planner(CPU, self.target, self._is_banned)
        if not self.excluded:
            return planner.plan(graph)
        try:
            return planner.plan(unfuse(graph, lambda node: self._accepts(node.op, node.operands)))
        except UnsupportedModel as err:
            raise VerifyError(
                f"{self.graph.name}: wrong are {_listed(self.excluded)}; no other kernel computes it; not saved"
            ) from err

    def _assemble(self, planned: Planned) -> Artifact:
        book = planned.book
        declarations = frozenset(book.declarations)
        sources = [Source(name, text, declarations) for name, text in book.texts.items()]
        return Artifact(
            planned.plan,
            self.compiler.image([Source("dispatcher", DISPATCH_TEXT, DISPATCH_DECLARATIONS), *sources]),
            pack_weights(planned.weights.arrays),
            self.target.features,
            built_for=self.target.model,
        )

    def _judge(self, artifact: Artifact) -> tuple[tuple[Difference, ...], ...]:
        with Engine(artifact) as engine:
            if self.samples:
                show_steps(engine, self.samples[0].feeds)
            return compare_all(engine.run, self.graph, self.samples)

    def _run_graph(self, graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
        with Engine(self._assemble(self._plan(graph))) as engine:
            return engine.run(feeds)

    def _fault(
        self, graph: Graph, records: Sequence[PassRecord], differences: Sequence[Sequence[Difference]]
    ) -> Blame | None:
        """What made the engine wrong; None when it is right. Where only noise excuses it, every step must be right.

        Raises VerifyError when it is wrong and nothing stands out.
        """
        for sample, found in zip(self.samples, differences, strict=True):
            wrong = [d for d in found if not d.is_equal]
            blame = None
            if wrong:
                blame = self.blame(graph, records, sample) or self._nothing_found(wrong[0], sample)
            elif any(d.noise for d in found) or check_level() >= 2:
                blame = blame_step(graph, sample.feeds, self._run_graph)
            if blame is not None:
                return blame
        return None

    def _nothing_found(self, wrong: Difference, sample: Sample) -> NoReturn:
        raise VerifyError(
            f"{self.graph.name}: {wrong} at {sample.sizes()}, though every pass and every step alone is right; "
            "not saved. Please report it with FUSEE_DUMP's folder"
        )

    def blame(self, graph: Graph, records: Sequence[PassRecord], sample: Sample) -> Blame | None:
        """The pass or step that is wrong on this sample."""
        return find_blame(records, graph, sample, self._run_graph)

    def _kernel_of(self, blame: Blame) -> str:
        if blame.node is None:
            return ""
        given = [Operand(v.type, None, const_array(v)) for v in blame.node.operands]
        chosen = accepts(CPU, KernelCall.of(blame.node.op, given, self.target), self._is_banned)
        if chosen is None:
            raise VerifyError(
                f"{self.graph.name}: {blame}; it runs on the host, so nothing else computes it; not saved"
            )
        return chosen.name

    def _finish(
        self,
        artifact: Artifact,
        graph: Graph,
        records: tuple[PassRecord, ...],
        differences: tuple[tuple[Difference, ...], ...],
    ) -> Built:
        record = certificate(self.samples, differences, _versions())
        self.clock.begin("")
        counts = (len(_computing(self.graph)), len(_computing(graph)))
        report = BuildReport(*counts, records, self.clock.seconds, tuple(self.excluded), record)
        text, constants = pack_graph(self.graph) if self.options.portable else ("", b"")
        return Built(replace(artifact, certificate=record, graph=text, graph_weights=constants), report)


def _computing(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes() if not isinstance(n.op, (Input, Const))]


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("fusee", "numpy", "onnx", "llvmlite")}


def _listed(excluded: Sequence[Blame]) -> str:
    return "; ".join(f"{b.kernel} in {b}" if b.kernel else str(b) for b in excluded) or "nothing"

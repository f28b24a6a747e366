"""From LLVM IR text to one position-independent code image, through LLVM in child processes.

No mid-level passes run: kernels are written as they are to be executed, and LLVM only selects instructions, allocates
registers and schedules. The image depends on texts and target alone, not on how many processes compiled it.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from fusee.base.errors import InternalError
from fusee.base.target import CpuTarget
from fusee.engine.image import CodeImage
from fusee.kernels.cpu.image import flatten
from fusee.kernels.cpu.target_machine import BASE_CPU, TRIPLE, feature_text, function_attributes
from fusee.kernels.kernel import Code

MODULE_BYTES = 192 << 10  # texts are joined into modules of about this size, each compiled on its own
_WORKER = Path(__file__).with_name("compile_worker.py")


@dataclass(frozen=True)
class Source:
    """Function definitions as IR text, and the ``declare`` lines they need."""

    name: str  # for error messages
    text: str
    declarations: frozenset[str] = field(default=frozenset())

    @staticmethod
    def of(name: str, code: Code) -> Source:
        return Source(name, code.text, code.declarations)


class Compiler:
    """Processes that hold LLVM for one target; open it once per build, early: starting takes about 0.1 s."""

    def __init__(self, target: CpuTarget, processes: int | None = None) -> None:
        self.target = target
        self._workers = [_Worker(target) for _ in range(processes or max(1, min(target.cores, 8)))]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def image(self, sources: Sequence[Source]) -> CodeImage:
        """All functions in one image. Raises InternalError naming the first function that LLVM rejects."""
        modules = list(_grouped(sources))
        with ThreadPoolExecutor(len(self._workers)) as pool:
            return flatten(list(pool.map(self._compiled, modules)))

    def _compiled(self, sources: list[Source]) -> bytes:
        worker = self._idle.get()
        try:
            answer = worker.ask(module_text(sources, self.target))
            return answer if isinstance(answer, bytes) else self._blame(worker, sources)
        finally:
            self._idle.put(worker)

    def _blame(self, worker: _Worker, sources: list[Source]) -> bytes:
        """Compile one by one to name the function at fault."""
        for source in sources:
            answer = worker.ask(module_text([source], self.target))
            if isinstance(answer, str):
                raise InternalError(f"LLVM rejects the code of {source.name}: {answer}")
        names = ", ".join(s.name for s in sources)
        raise InternalError(f"LLVM rejects the functions {names} together, but each one alone compiles")


def compile_image(sources: Sequence[Source], target: CpuTarget, processes: int | None = None) -> CodeImage:
    """One image with a compiler of its own."""
    with Compiler(target, processes) as compiler:
        return compiler.image(sources)


def module_text(sources: Iterable[Source], target: CpuTarget) -> str:
    """One LLVM module of several sources, with each declaration once."""
    sources = list(sources)
    declarations = sorted(frozenset[str]().union(*[s.declarations for s in sources]))
    return "\n".join([*(s.text for s in sources), *declarations, function_attributes(target)])


def _grouped(sources: Sequence[Source]) -> Iterable[list[Source]]:
    group: list[Source] = []
    size = 0
    for source in sources:
        if group and size + len(source.text) > MODULE_BYTES:
            yield group
            group, size = [], 0
        group.append(source)
        size += len(source.text)
    if group:
        yield group


class _Worker:
    """One child process, started again when LLVM aborted in it."""

    def __init__(self, target: CpuTarget) -> None:
        self._command = [sys.executable, "-P", str(_WORKER), TRIPLE, BASE_CPU, feature_text(target)]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)

    def ask(self, text: str) -> bytes | str:
        """The object file of a module, or what LLVM said against it."""
        body = text.encode()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        try:
            stdin.write(struct.pack("<Q", len(body)) + body)
            stdin.flush()
        except BrokenPipeError:
            return self._died()
        header = stdout.read(8)
        if len(header) < 8:
            return self._died()
        answer = stdout.read(struct.unpack("<Q", header)[0])
        return answer[1:] if answer[:1] == b"\1" else answer[1:].decode()

    def _died(self) -> str:
        _, message = self._process.communicate()
        status = self._process.returncode
        self._process = self._start()
        return f"LLVM ended the process with status {status}: {message.decode(errors='replace').strip()}"

    def close(self) -> None:
        self._process.communicate()

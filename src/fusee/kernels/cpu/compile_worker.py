"""The process that holds LLVM: reads module texts from stdin, answers each with an object file or what was wrong.

LLVM aborts the whole process on some faulty modules, so it never runs in the process of a build. Started as a script
with the CPU and the feature string as arguments. A message is a length in 8 bytes, then that many bytes; an answer's
first byte is 1 for an object, 0 for an error text.
"""

from __future__ import annotations

import struct
import sys
from typing import Any, BinaryIO

import llvmlite.binding as llvm


def target_machine(triple: str, cpu: str, features: str) -> Any:
    """LLVM's code generator for position-independent code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small")


def compile_text(machine: Any, text: str) -> bytes:
    """One module's object file. Raises RuntimeError when LLVM rejects the text."""
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    return machine.emit_object(module)


def serve(requests: BinaryIO, answers: BinaryIO, machine: Any) -> None:
    """Answer until the requests end."""
    while header := requests.read(8):
        text = requests.read(struct.unpack("<Q", header)[0]).decode()
        try:
            answer = b"\1" + compile_text(machine, text)
        except RuntimeError as err:
            answer = b"\0" + str(err).encode()
        answers.write(struct.pack("<Q", len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, target_machine(*sys.argv[1:4]))

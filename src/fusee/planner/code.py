"""The functions of an engine: emitted text collected once per distinct content, whatever node asked for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from fusee.kernels.kernel import Code, KernelCall
from fusee.planner.select import Choice

PLACEHOLDER = "fusee_kernel"  # every name that a kernel defines starts with it until its text is known


@dataclass
class CodeBook:
    """Emitted functions by name, and the declarations they need."""

    texts: dict[str, str] = field(default_factory=dict[str, str])
    declarations: set[str] = field(default_factory=set[str])
    _symbols: dict[str, str] = field(default_factory=dict[str, str])  # digest of the text -> symbol

    def emit(self, choice: Choice, call: KernelCall) -> Code:
        """The code of a call, its symbols renamed so that equal texts share one function."""
        code = choice.kernel.emit(call, choice.tactic, PLACEHOLDER)
        digest = hashlib.sha256(code.text.encode()).hexdigest()
        symbol = self._symbols.get(digest)
        if symbol is None:
            symbol = f"k{len(self._symbols)}_{type(call.op).text_name()}"
            self._symbols[digest] = symbol
            self.texts[symbol] = code.text.replace(PLACEHOLDER, symbol)
            self.declarations |= code.declarations
        launches = tuple(replace(x, symbol=x.symbol.replace(PLACEHOLDER, symbol)) for x in code.launches)
        return replace(code, text=self.texts[symbol], launches=launches)

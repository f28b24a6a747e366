"""Choose a kernel and a tactic for a call, and remember why each other kernel was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusee.kernels.kernel import Backend, Kernel, KernelCall, Tactic


@dataclass(frozen=True)
class Choice:
    """The kernel that computes a call, and what was said of those before it in the backend's order."""

    kernel: Kernel
    tactic: Tactic
    refusals: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.kernel.name}({self.tactic})" if str(self.tactic) else self.kernel.name


Banned = Callable[[Kernel, KernelCall], bool]


def allow_all(_kernel: Kernel, _call: KernelCall) -> bool:
    """The ban that bans nothing."""
    return False


def choose(backend: Backend, call: KernelCall, banned: Banned = allow_all) -> Choice | None:
    """The first kernel that does not refuse, with its cheapest tactic; None when all refuse."""
    refusals: list[tuple[str, str]] = []
    for kernel in backend.kernels_for(call.op):
        reason = kernel.refuses(call) or ("it computed wrong results here" if banned(kernel, call) else "")
        if not reason:
            return Choice(kernel, cheapest(kernel, call), tuple(refusals))
        refusals.append((kernel.name, reason))
    return None


def accepts(backend: Backend, call: KernelCall, banned: Banned = allow_all) -> Kernel | None:
    """The kernel that ``choose`` would choose, without looking for its tactic."""
    return next((k for k in backend.kernels_for(call.op) if not k.refuses(call) and not banned(k, call)), None)


def refusals(backend: Backend, call: KernelCall) -> tuple[tuple[str, str], ...]:
    """What each kernel for this op says against the call."""
    return tuple((k.name, reason) for k in backend.kernels_for(call.op) if (reason := k.refuses(call)))


def cheapest(kernel: Kernel, call: KernelCall) -> Tactic:
    """The tactic with the lowest estimated time; the kernel's first when it estimates none."""
    tactics = kernel.tactics(call)
    costs = [kernel.cost_us(call, t) for t in tactics]
    known = [(c, i) for i, c in enumerate(costs) if c is not None]
    return tactics[min(known)[1]] if known else tactics[0]

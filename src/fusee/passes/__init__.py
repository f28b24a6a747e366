"""The passes, in the order in which they run. To add one: list it here, with the reason for its place. Nothing else."""

from __future__ import annotations

from fusee.base.types import DType
from fusee.ir.passes import Pass, rules_pass
from fusee.passes.activations import ACTIVATIONS
from fusee.passes.affine import AFFINE
from fusee.passes.algebra import ALGEBRA
from fusee.passes.attention import ATTENTION, transpose_onto_attention
from fusee.passes.branches import BRANCHES
from fusee.passes.constants import fold_constants, fold_weights
from fusee.passes.cse import share
from fusee.passes.fuse import Accepts, fuse_pass
from fusee.passes.horizontal import join
from fusee.passes.identities import IDENTITIES, transpose_of_ones
from fusee.passes.integers import integer_pass
from fusee.passes.layout import TO_CHANNELS_LAST
from fusee.passes.norms import NORMS
from fusee.passes.pads import PADS
from fusee.passes.reshape import RESHAPE
from fusee.passes.sink import SINK
from fusee.passes.sink_reshape import SINK_RESHAPE
from fusee.passes.transposed import TRANSPOSED
from fusee.passes.widen import widen

PORTABLE: tuple[Pass, ...] = (
    # What needs no input is a constant from here on: every later rule may ask for its value.
    Pass("constants", fold_constants),
    # Before constants are combined, so that this happens in f32; no CPU kernel computes in the narrow types.
    Pass("widen", widen((DType.F16, DType.BF16))),
    # One spelling of everything, so that what follows needs to know one.
    rules_pass("simplify", (*BRANCHES, *IDENTITIES, transpose_of_ones, *ALGEBRA)),
    # Equal operands are one value now: patterns that name a value twice can match.
    Pass("share", share),
    # Before scales fold into weights, or half of a GELU could end up in one.
    rules_pass("canonical", (*ACTIVATIONS, *NORMS, *ATTENTION)),
    # Channels are still axis 1, as these rules expect.
    rules_pass("affine", (*AFFINE, *PADS, *IDENTITIES, *ALGEBRA)),
)
PREPARING: tuple[Pass, ...] = (
    # After scales and offsets are in the weight, which this takes apart.
    rules_pass("transposed", TRANSPOSED),
    # Last of what an exporter's spelling decides; from here on the graph is prepared for kernels.
    rules_pass("layout", (*TO_CHANNELS_LAST, *SINK_RESHAPE, *SINK, *IDENTITIES)),
    # Only now: while transposes sink, those that move nothing must stay visible as transposes.
    rules_pass("settle", (transpose_of_ones, transpose_onto_attention, *IDENTITIES, *RESHAPE)),
    # What the transposes made anew: moved constants, and the same transpose before several users.
    Pass("constants-again", fold_constants),
    # Nothing can use a quantised weight as it is from here on.
    Pass("weights", fold_weights),
    Pass("share-again", share),
    # Equal operands are one value, weights are constants, and no rule has to see through the slices that this makes.
    Pass("join", join),
)


def pipeline(accepts: Accepts) -> tuple[Pass, ...]:
    """All passes for a backend, which ``accepts`` asks whether one of its kernels takes an op on operands.

    Integer products turn to floats after scales have folded, which keeps them exact. Fusion is last: after it, no
    pass looks into the groups.
    """
    return (*PORTABLE, integer_pass(accepts), *PREPARING, fuse_pass(accepts))

"""exp, log and max in forms that LLVM vectorises inside a kernel's loop."""

import numpy as np
from llvmlite import ir
from numba.core import config
from numba.extending import intrinsic

from .compiling import njit

# Sums may be reordered, infinities keep their meaning, nothing is NaN.
_FASTMATH = {"nnan", "nsz", "reassoc", "contract", "arcp"}
# What Python calls.
JIT = dict(nogil=True, error_model="numpy", fastmath=_FASTMATH, cache=True)
# What kernels call. Inlined without exception: else freshly compiled code and code
# from the cache may call different versions, whose sums differ in the last bit.
INLINE = dict(error_model="numpy", fastmath=_FASTMATH, forceinline=True)
# What kernels call that allocates nothing: no references to arrays are counted there, which
# costs as much as the arithmetic. Whether LLVM vectorises a loop that writes may depend on
# where its arrays lie. No bit depends on it: only `dot` and `sum_of`, which write nothing,
# sum in another order than is written, and only `fma` fuses.
LEAN = dict(error_model="numpy", fastmath={"nnan", "nsz"}, forceinline=True, _nrt=False)
SUM = LEAN | dict(fastmath=_FASTMATH)

LN2 = 0.6931471805599453
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it leaves round(x) in the low bits


# "contract" alone: reordering would undo the rounding trick.
@njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
def exp(x):
    """Return exp(x) for x <= 709 to two units in the last place, 1e-304 below -700.

    numpy.exp calls the C library one number at a time. This is straight-line code:
    x = n log 2 + r, a Taylor polynomial in r, and n added to the exponent's bits.
    """
    x = x if x > -700.0 else -700.0
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = np.float64(p).view(np.int64) + (np.float64(shifted).view(np.int64) << 52)
    return np.int64(bits).view(np.float64)


# Without fastmath: where both terms are large, their sum must be the same number everywhere.
@njit(error_model="numpy", forceinline=True)
def plain_sum(x, y):
    """Return x + y, rounded before anything else is added."""
    return x + y


@njit(error_model="numpy", forceinline=True)
def log_share(energy, reference, total):
    """Return log(exp(energy - reference) / total) without the digits lost beside large energies."""
    return (energy - reference) - np.log(total)


# "contract" alone, as above.
@njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
def log(x):
    """Return log(x) of a normal positive number to a few units in the last place.

    x = 2^n m with m around 1, log m = 2 artanh((m - 1) / (m + 1)) as a Taylor series.
    """
    bits = np.float64(x).view(np.uint64)
    # the exponent of x / sqrt(1 / 2), biased
    n = (bits + np.uint64(0x00095F619980C433)) >> np.uint64(52)
    m = np.uint64(bits + np.uint64(0x3FF0000000000000) - (n << np.uint64(52))).view(np.float64)
    count = np.uint64(n | np.uint64(0x4330000000000000)).view(np.float64) - 4503599627371519.0
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = 1.0 / 21.0
    p = p * t + 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    return count * _LN2_HIGH + (count * _LN2_LOW + 2.0 * (s + s * (t * p)))


@intrinsic
def maximum(typingctx, a, b):
    """Return the larger of two numbers of one type.

    The comparison that numba makes of ``max`` bears no fast-math flags, so LLVM
    leaves a running maximum scalar; its own maxnum is vectorised.
    """

    def codegen(context, builder, signature, args):
        kind = args[0].type
        function = builder.module.declare_intrinsic(
            "llvm.maxnum", [kind], ir.FunctionType(kind, [kind, kind])
        )
        return builder.call(function, args, fastmath=("nnan", "nsz"))

    return a(a, a), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c of numbers of one type, rounded once where the processor can."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        function = builder.module.declare_intrinsic(
            "llvm.fmuladd", [kind], ir.FunctionType(kind, [kind, kind, kind])
        )
        return builder.call(function, args)

    return a(a, a, a), codegen


@intrinsic
def log2_below(typingctx, x):
    """Return a lower bound of log2(x) of a normal positive number, at most 0.0861 below it.

    The exponent plus the mantissa less 1: the line between neighbouring powers of 2.
    """

    def codegen(context, builder, signature, args):
        kind, integer = args[0].type, ir.IntType(32)
        if kind == ir.DoubleType():  # sign, exponent and 20 bits of the mantissa will do
            bits = builder.bitcast(args[0], ir.IntType(64))
            bits = builder.trunc(builder.lshr(bits, ir.Constant(ir.IntType(64), 32)), integer)
            unit, bias = 2.0**-20, 1023.0
        else:
            bits, unit, bias = builder.bitcast(args[0], integer), 2.0**-23, 127.0
        number = builder.fmul(builder.sitofp(bits, kind), ir.Constant(kind, unit))
        return builder.fsub(number, ir.Constant(kind, bias))

    return x(x), codegen


if config.DISABLE_JIT:  # plain Python knows no intrinsics
    maximum = max

    def fma(a, b, c):
        return a * b + c

    log2_below = np.log2


@njit(**SUM)
def sum_of(x):
    """Return the sum of all entries."""
    out = x.dtype.type(0.0)
    for i in range(x.size):
        out += x[i]
    return out


@njit(**SUM)
def dot(x, y):
    """Return the sum of products."""
    out = x.dtype.type(0.0)
    for i in range(x.size):
        out += x[i] * y[i]
    return out


@njit(**LEAN)
def copy(source, target):
    """Write one row over another."""
    for i in range(target.size):
        target[i] = source[i]


@njit(**LEAN)
def highest(x):
    """Return the maximum."""
    top = x.dtype.type(-np.inf)
    for i in range(x.size):
        top = maximum(top, x[i])
    return top


@njit(**LEAN)
def argmax(x):
    """Return the index of the first maximum: two reductions, no branch per entry."""
    top = highest(x)
    first = np.int64(x.size)
    for i in range(x.size):
        j = i if x[i] == top else np.int64(x.size)
        first = j if j < first else first
    return first

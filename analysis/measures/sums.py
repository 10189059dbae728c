"""One pass over weights that may lie in a file: sums of functions of their magnitudes, and their order.

Several threads read a few blocks at a time (numpy releases Python's lock), so that the memory needed does not depend on
the size of the weights. Partial sums are of a fixed number of blocks and are added in the order of the blocks, so that
no bit of a result depends on the number of threads. Sums are float64, pairwise within a piece, and exact beyond.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.measures.ranks import AT_ONCE, SORTED, Bins, Floats, Undefined, unit
from study.cores import usable_cores

Blocks = Sequence[NDArray[Any]]
In = TypeVar("In")
Out = TypeVar("Out")

PIECE = AT_ONCE
"""Elements processed at once, 1 MiB as float64. With fewer the threads mostly wait for Python's lock."""
RUN = 16
"""Blocks that one thread reads in a row; their sum is one partial sum."""


class Term(NamedTuple):
    """A sum over all weights of a function of the magnitude: `function(c, *arguments)` sums over a piece `c`, (n,)."""

    function: Callable[..., float]
    arguments: tuple[float, ...] = ()
    scaled: bool = True  # whether the magnitudes are first multiplied by a power of two, the same for all weights


def power(c: Floats, p: float) -> float:
    """sum c^p over the magnitudes that are not zero."""
    if p == 1:
        return float(c.sum())
    if p == 2:
        return float(np.square(c).sum())
    if p == 4:
        return float(np.square(np.square(c)).sum())
    if p == 0.5:
        return float(np.sqrt(c).sum())
    return float(np.power(c if p > 0 else c[c > 0], p).sum())


TOTAL = Term(power, (1.0,))


@dataclass(frozen=True)
class Scan:
    """The result of a pass: the number of weights, the sum of each term, and the order if it is wanted.

    `ordered` are the scaled magnitudes: (N,) ascending, float32 or float64, up to `ranks.SORTED` of them, bins above.
    """

    n: int
    sums: dict[Term, float]
    ordered: NDArray[Any] | Bins | None


@dataclass(frozen=True)
class _Part:
    n: int
    sums: list[float]
    bins: Bins | None


def scan(blocks: Blocks, terms: Iterable[Term], order: bool, threads: int | None = None) -> Scan:
    """Sum over `blocks`, real arrays of any shape and of one dtype, which are read once, and twice if they are float64.

    Squares of float64 may overflow or vanish, hence the largest magnitude has to be known first; up to the fourth power
    no other dtype does. Up to `SORTED` weights are kept in memory and never read twice.

    Args:
        blocks: `blocks[i]` may read from a file; it is called from several threads.
        terms: the sums.
        order: whether the order of the magnitudes is wanted.
        threads: number of threads (default: one a core); no result depends on it.

    Raises:
        Undefined: there are no weights, or one is not finite.
    """
    head, everything = _head(blocks)
    first = [np.ravel(block, order="K")[:SORTED] for block in head]
    if not everything and len(blocks) == 1:
        flat = np.ravel(head[0], order="K")
        blocks = head = [flat[i : i + RUN * PIECE] for i in range(0, flat.size, RUN * PIECE)]
    threads = 1 if everything else threads or usable_cores()

    def read(indices: range) -> Iterator[NDArray[Any]]:
        return _pieces(head[i] if i < len(head) else blocks[i] for i in indices)

    runs = [range(i, min(i + RUN, len(blocks))) for i in range(0, len(blocks), RUN)]
    scale = 1.0
    if any(block.dtype.kind == "f" and block.dtype.itemsize > 4 for block in head):
        scale = _scale(max(_in_order(lambda run: _largest(read(run)), runs, threads), default=0.0))
    distinct = {term: term if scale != 1 else term._replace(scaled=False) for term in (TOTAL, *terms)}
    wanted = list(dict.fromkeys(distinct.values()))
    binned = order and not everything
    factor = unit(_magnitudes(np.concatenate(first)[:SORTED]) * scale) if binned else None
    n, parts, bins = 0, [], Bins()
    for part in _in_order(lambda run: _part(read(run), wanted, scale, factor), runs, threads):
        n += part.n
        parts.append(part.sums)
        if part.bins:
            bins.merge(part.bins)
    if n == 0:
        raise Undefined("no weights")
    sums = dict(zip(wanted, map(_sum, zip(*parts, strict=True)), strict=True))
    return Scan(
        n,
        {term: sums[same] for term, same in distinct.items()},
        None if not order else bins if binned else _sorted(head, scale),
    )


def _head(blocks: Blocks) -> tuple[list[NDArray[Any]], bool]:
    """The first blocks, up to more than `SORTED` weights, and whether these are all blocks."""
    head: list[NDArray[Any]] = []
    size = 0
    for i in range(len(blocks)):
        head.append(blocks[i])
        size += head[-1].size
        if size > SORTED:
            return head, False
    return head, True


def _pieces(blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The elements of `blocks` in pieces of about `PIECE`: larger blocks are cut, smaller ones concatenated."""
    waiting: list[NDArray[Any]] = []
    for block in blocks:
        waiting.append(np.ravel(block, order="K"))  # any order will do
        if sum(flat.size for flat in waiting) >= PIECE:
            yield from _cut(waiting)
            waiting = []
    yield from _cut(waiting)


def _cut(waiting: list[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    flat = waiting[0] if len(waiting) == 1 else np.concatenate(waiting) if waiting else np.empty(0)
    for start in range(0, flat.size, PIECE):
        yield flat[start : start + PIECE]


def _magnitudes(piece: NDArray[Any]) -> Floats:
    if piece.dtype.kind == "f":
        c: Floats = np.abs(piece).astype(np.float64)
    else:
        c = np.abs(piece.astype(np.float64))  # in this order: |-128| is no int8
    return c


def _largest(pieces: Iterable[NDArray[Any]]) -> float:
    largest = 0.0
    for piece in pieces:
        at_most = float(_magnitudes(piece).max())
        if not math.isfinite(at_most):
            raise Undefined("a weight is not finite")
        largest = max(largest, at_most)
    return largest


def _scale(largest: float) -> float:
    """The power of two that scales `largest` to 1/2..1, as far as it is a number: scaling by it is exact."""
    return math.ldexp(1.0, min(-math.frexp(largest)[1], 1023))


def _part(pieces: Iterable[NDArray[Any]], terms: list[Term], scale: float, factor: float | None) -> _Part:
    """Sums of `terms` over `pieces`, and bins of the magnitudes times `factor`, if there is one."""
    n, bins = 0, Bins()
    sums: list[list[float]] = []
    with np.errstate(all="ignore"):  # a sum out of the range of float64 is reported by its measure
        for piece in pieces:
            raw = _magnitudes(piece)
            c = raw if scale == 1 else raw * scale
            sums.append([term.function(c if term.scaled else raw, *term.arguments) for term in terms])
            if not math.isfinite(sums[-1][0]):
                raise Undefined("a weight is not finite")
            if factor is not None:
                bins.add(np.multiply(c, factor, out=c))
            n += piece.size
    return _Part(
        n, [_sum(values) for values in zip(*sums, strict=True)] or [0.0] * len(terms), bins if factor else None
    )


def _sum(values: Iterable[float]) -> float:
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf


def _sorted(blocks: list[NDArray[Any]], scale: float) -> NDArray[Any]:
    if all(block.dtype == np.float32 for block in blocks):
        return np.sort(np.abs(np.concatenate([block.ravel() for block in blocks])))  # float32 sorts twice as fast
    return np.sort(np.concatenate([_magnitudes(block.ravel()) for block in blocks]) * scale)


def _in_order(work: Callable[[In], Out], tasks: Iterable[In], threads: int) -> Iterator[Out]:
    """The results of `work` in the order of the tasks; at most two tasks a thread are started ahead."""
    if threads == 1:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Out]] = deque()
        for task in tasks:
            if len(begun) == 2 * threads:
                yield begun.popleft().result()
            begun.append(pool.submit(work, task))
        while begun:
            yield begun.popleft().result()

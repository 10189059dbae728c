"""One pass over weights that may lie in a file: sums of functions of their magnitudes, and their order.

Blocks are read by several threads (numpy releases Python's lock), a few at a time, so that the memory taken does not
depend on the size of the weights. They are put together in the order of the blocks, in runs of a fixed number, so that
no bit of a result depends on the number of threads. All sums are of float64: pairwise within a piece, then exact.
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
from study.environment import usable_cores

Blocks = Sequence[NDArray[Any]]
In = TypeVar("In")
Out = TypeVar("Out")

PIECE = AT_ONCE
"""Elements worked on at once, 1 MiB as float64. With fewer of them the threads mostly wait for Python's lock."""
RUN = 16
"""Blocks that one thread takes at a time, one after another."""


class Term(NamedTuple):
    """The sum over all weights of a function of the magnitude, as `function(c, *arguments)` of a piece `c`, (n,)."""

    function: Callable[..., float]
    arguments: tuple[float, ...] = ()
    scaled: bool = True  # of the magnitudes times a power of two; False: of the magnitudes themselves


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
    """What was found: the number of weights, the sum of each term, and the order if it was asked for.

    `ordered` holds scaled magnitudes: (N,) ascending, float32 or float64, up to `order.SORTED` of them, bins above.
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
    """Go through `blocks`, real arrays of any shape and of one dtype: once, and once more before that for float64.

    Squares of float64 may overflow or vanish, hence the largest has to be known first; nothing of the other dtypes
    does up to the fourth power. Up to `SORTED` weights are kept in memory and never read twice.

    Args:
        blocks: `blocks[i]` may read from a file; it is called from several threads.
        terms: what to sum.
        order: whether the magnitudes' order is wanted.
        threads: how many (default: one a core); no result depends on it.

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
    """The first blocks, of more than `SORTED` weights together or all there are; whether they are all."""
    head: list[NDArray[Any]] = []
    size = 0
    for i in range(len(blocks)):
        head.append(blocks[i])
        size += head[-1].size
        if size > SORTED:
            return head, False
    return head, True


def _pieces(blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The elements of `blocks` in pieces of about `PIECE`: larger blocks are cut, smaller ones put together."""
    waiting: list[NDArray[Any]] = []
    for block in blocks:
        waiting.append(np.ravel(block, order="K"))  # the order has no meaning here
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
    """The power of two that takes `largest` to 1/2..1, where that is a number: it changes no digit."""
    return math.ldexp(1.0, min(-math.frexp(largest)[1], 1023))


def _part(pieces: Iterable[NDArray[Any]], terms: list[Term], scale: float, factor: float | None) -> _Part:
    """Sums of `terms` over `pieces`, and bins of the magnitudes times `factor`, if there is one."""
    n, bins = 0, Bins()
    found: list[list[float]] = []
    with np.errstate(all="ignore"):  # what has left the range of float64 is told from the sum
        for piece in pieces:
            raw = _magnitudes(piece)
            c = raw if scale == 1 else raw * scale
            found.append([term.function(c if term.scaled else raw, *term.arguments) for term in terms])
            if not math.isfinite(found[-1][0]):
                raise Undefined("a weight is not finite")
            if factor is not None:
                bins.add(np.multiply(c, factor, out=c))
            n += piece.size
    return _Part(
        n, [_sum(values) for values in zip(*found, strict=True)] or [0.0] * len(terms), bins if factor else None
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
    """`work` of each task, in order; no more than two tasks a thread are begun before their results are taken."""
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

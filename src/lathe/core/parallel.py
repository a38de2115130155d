"""Several processes that train one model: who is who, and what they add up, tell one another and wait for.

torchrun starts the processes. A process by itself is rank 0 of 1, and everything here is free for it. Rank 0 *leads*:
it alone writes and speaks. Small things travel as JSON over gloo, gradients over gloo or, on CUDA, NCCL.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from lathe.core import runtime
from lathe.core.errors import LatheError

T = TypeVar("T")
Number = TypeVar("Number", int, float)

PATIENCE = timedelta(days=365)
"""Ranks wait as long as rank 0 evaluates; one that has ended is noticed at once, by its closed connection."""
START_PATIENCE = timedelta(minutes=10)
"""They start together, and what they do before they meet takes seconds."""
BUCKET_BYTES = 25 << 20
"""Gradients are added up in pieces of about this size."""
FRAME_BYTES = 1024
"""What fits into one message; longer values take two."""


class Ranks(NamedTuple):
    """One process among those that train together."""

    rank: int = 0
    size: int = 1


class PeerLost(LatheError):  # noqa: N818 - what happened
    """Another process of the run has ended; where it had something to tell, it has told it."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended without a word; start the same command again, it goes on from the "
            "newest checkpoint (`torchrun --max-restarts=N` does that by itself)"
        )


class Released(Exception):  # noqa: N818 - not an error: how the part of a rank that does not lead ends
    """The training is done, and what remains is rank 0's."""


def ranks() -> Ranks:
    in_group = dist.is_available() and dist.is_initialized()
    return Ranks(dist.get_rank(), dist.get_world_size()) if in_group else Ranks()


def leads() -> bool:
    return ranks().rank == 0


def refuse_several(verb: str) -> None:
    """Raises ``LatheError`` in a process that torchrun started with others, and that has not joined them."""
    if ranks().size == 1 and (started := runtime.launch().ranks) > 1:
        raise LatheError(
            f"`lathe {verb}` runs in one process only and torchrun has started {started}; run it without torchrun"
        )


@contextmanager
def joined() -> Iterator[None]:
    """Within it, the processes that torchrun started are the ranks of one run. Alone, or joined already, it is nothing.

    They end with torchrun. Where one leaves with an error the others do not wait for it: they raise ``PeerLost``.
    """
    launch = runtime.launch()
    if launch.ranks == 1 or ranks().size > 1:
        yield
        return
    runtime.end_with_parent()
    backend, store = _backend(launch), _meet(launch)
    dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.ranks, timeout=PATIENCE)
    try:
        with told_first():
            yield
    except BaseException:
        runtime.end_undisturbed()
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def told_first() -> Iterator[None]:
    """What fails within is what ended the run: whatever the other processes run into from now on, they do not tell."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, PeerLost):
            may_tell()
        raise


def may_tell() -> bool:
    """Whether it is for this process to tell why the run ended: one does, the first that knew."""
    launch = runtime.launch()
    if launch.ranks == 1:
        return True
    try:
        return bool(_store().compare_set("told", "", str(launch.rank)) == str(launch.rank).encode())
    except RuntimeError:  # the store has ended with torchrun or with rank 0
        return launch.rank == 0


def gather(value: T) -> list[T]:
    """The value of every rank, by rank; JSON carries it."""
    if ranks().size == 1:
        return [value]
    own = json.dumps(value).encode()
    lengths, frames = _exchange(own, FRAME_BYTES)
    if max(lengths) > FRAME_BYTES:
        lengths, frames = _exchange(own, max(lengths))
    return [json.loads(frame[:length]) for length, frame in zip(lengths, frames, strict=True)]


def once(make: Callable[[], T]) -> T:
    """What ``make`` returns on rank 0, the only one that calls it; the others wait. JSON carries it."""
    found: T = gather(make() if leads() else None)[0]  # type: ignore[assignment]  # rank 0 has made it
    return found


def barrier() -> None:
    """Wait until every rank is here."""
    gather(None)


def add_up(counts: Mapping[str, Number]) -> dict[str, Number]:
    """Sums by name over all ranks, which need not have the same names."""
    sums: dict[str, Number] = {}
    for theirs in gather(dict(counts)):
        for name, value in theirs.items():
            sums[name] = sums.get(name, 0) + value
    return sums


def add_up_tensors(tensors: Sequence[Tensor]) -> None:
    """Each becomes its sum over all ranks, with the same bits on every one; shapes and order must be the same there."""
    if ranks().size == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        with _awaited():
            dist.all_reduce(flat)
        for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))


def refuse_unlike(facts: Mapping[str, str]) -> None:
    """Raises ``LatheError`` where ranks differ in what must be the same on all of them."""
    first, *others = gather(dict(facts))
    for rank, theirs in enumerate(others, 1):
        if unlike := [name for name in first if first[name] != theirs.get(name)]:
            raise LatheError(
                f"process {rank} has other {' and other '.join(unlike)} than process 0: all of them must read the same "
                "files, OUT.work too, on processors that compute alike"
            )


def _backend(launch: runtime.Launch) -> str:
    """gloo for what is on the CPU, NCCL for what is on the GPU of this rank."""
    if not torch.cuda.is_available():
        return "gloo"
    if launch.local_ranks > (count := torch.cuda.device_count()):
        raise LatheError(f"torchrun has started {launch.local_ranks} processes for {count} GPUs; start one for each")
    torch.cuda.set_device(launch.local_rank)
    return "cpu:gloo,cuda:nccl"


@cache
def _store() -> Any:
    """Where the processes of one start leave notes for one another, whether they have joined or not."""
    store, _, _ = next(rendezvous("env://"))
    return _below(f"start/{runtime.launch().restarts}", store)  # torchrun keeps the notes of the starts before


def _below(prefix: str, store: Any) -> Any:
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]  # exported, but not by name


def _meet(launch: runtime.Launch) -> Any:
    """Wait until all processes are here; returns a store of their own for this time."""
    times = _store().add(f"came/{launch.rank}", 1)
    store = _below(f"met/{times}", _store())
    store.set(f"here/{launch.rank}", "")
    try:
        store.wait([f"here/{rank}" for rank in range(launch.ranks)], START_PATIENCE)
    except RuntimeError:
        raise LatheError(f"not all of {launch.ranks} processes have come within {START_PATIENCE}") from None
    return store


@contextmanager
def _awaited() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what both libraries raise when a connection is closed
        raise PeerLost from error


def _exchange(own: bytes, room: int) -> tuple[list[int], list[bytes]]:
    """Of every rank: the length of what it has to say, and its first ``room`` bytes."""
    frame = len(own).to_bytes(8, "little") + own[:room].ljust(room, b"\0")
    sent = torch.frombuffer(bytearray(frame), dtype=torch.uint8)
    found = [torch.empty_like(sent) for _ in range(ranks().size)]
    with _awaited():
        dist.all_gather(found, sent)
    frames = [tensor.numpy().tobytes() for tensor in found]
    return [int.from_bytes(frame[:8], "little") for frame in frames], [frame[8:] for frame in frames]


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, together about ``BUCKET_BYTES``."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(other.nbytes for other in bucket) + tensor.nbytes > BUCKET_BYTES
        if bucket and (full or tensor.dtype != bucket[0].dtype or tensor.device != bucket[0].device):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket

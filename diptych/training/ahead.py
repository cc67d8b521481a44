"""Batches prepared ahead of the step that needs them, in a fixed order."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from diptych.training.task import Task


@contextmanager
def ahead(task: Task, numbers: range, workers: int, depth: int) -> Iterator[Iterator[Any]]:
    """An iterator over `task.batch(n)` for n in `numbers`, made by one thread or by `workers` processes.

    Processes are forked on Linux (elsewhere the task must be picklable) and must not touch an accelerator.
    An exception in the task is raised here, at the batch it belongs to. Leaving the block stops the workers.
    """
    if workers:
        batches = iter(_loader(task, numbers, workers, depth))
        yield batches
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        yield _threaded(pool, task, numbers, depth)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _threaded(pool: ThreadPoolExecutor, task: Task, numbers: range, depth: int) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    left = iter(numbers)
    while True:
        while len(waiting) < depth and (number := next(left, None)) is not None:
            waiting.append(pool.submit(task.batch, number))
        if not waiting:
            return
        yield waiting.popleft().result()


class _Numbered(Dataset[Any]):
    def __init__(self, task: Task) -> None:
        self.task = task

    def __getitem__(self, index: int) -> Any:
        return self.task.batch(index)


def _loader(task: Task, numbers: range, workers: int, depth: int) -> DataLoader[Any]:
    """The loader's own generator keeps it from drawing its seed out of the training's global one."""
    return DataLoader(
        _Numbered(task),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=depth,
        worker_init_fn=_deaf,
        collate_fn=_as_it_is,
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        generator=torch.Generator(),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _deaf(_: int) -> None:
    """Ctrl-C reaches the whole process group; only the training itself decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

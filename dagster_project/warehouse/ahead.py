"""Running an iterator in a thread ahead of its consumer, a few items at most."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _End:
    """After the last item: the error that ended the producer, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Iterator[Item]]:
    """Iterate over `items` in a thread, at most `depth` items ahead of the consumer.

    Decompressing, parsing and inserting all leave the interpreter's lock, so a chain of these keeps several cores
    busy while memory stays bounded by `depth`. The producer's error is raised in the consumer, in its place. Leaving
    the block early stops the producer.
    """
    run = _Run(items, depth)
    run.thread.start()
    try:
        yield run.received()
    finally:
        run.stop()


class _Run(Generic[Item]):
    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self.items = items
        self.queue: queue.Queue[Item | _End] = queue.Queue(depth)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._produce, name="ahead", daemon=True)

    def received(self) -> Iterator[Item]:
        while True:
            item = self.queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def stop(self) -> None:
        self.stopped.set()
        while self.thread.is_alive():
            try:
                self.queue.get_nowait()  # makes room for a producer that waits in `put`
            except queue.Empty:
                self.thread.join(0.01)

    def _produce(self) -> None:
        error: BaseException | None = None
        iterator = iter(self.items)
        try:
            for item in iterator:
                self.queue.put(item)
                if self.stopped.is_set():
                    break
        except BaseException as raised:
            error = raised
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        self.queue.put(_End(error))

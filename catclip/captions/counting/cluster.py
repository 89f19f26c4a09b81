"""Parts of a corpus counted on a Ray cluster, whose machines all see its files."""

import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.parts import Counting, Part, PartProgress, part_size
from catclip.errors import UserError


def connect() -> Any:
    """Return the module `ray`, connected to the cluster that RAY_ADDRESS names, or to one made of this machine.

    Raises:
        UserError: Ray is not installed, or its cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise UserError("workers=ray needs Ray: pip install 'catclip[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"The Ray cluster cannot be reached: {error}") from error
    return ray


def count_on_ray(
    counting: Counting, parts: Sequence[Part], progress: PartProgress | None = None
) -> Iterator[tuple[int, CorpusCounts]]:
    """Yield (place in `parts`, its counts), in the order in which they are done.

    Raises:
        UserError: Ray is missing, or a file cannot be read on one of its machines.
    """
    ray = connect()
    count = ray.remote(_count)
    settings = ray.put(pickle.dumps(counting))
    places = iter(range(len(parts)))
    running: dict[Any, int] = {}
    window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    while True:
        while len(running) < window and (place := next(places, None)) is not None:
            running[count.remote(settings, parts[place])] = place
        if not running:
            return
        for task in ray.wait(list(running))[0]:
            content = ray.get(task)
            if isinstance(content, str):
                raise UserError(content)
            corpus = CorpusCounts.from_arrays(content, counting.extractor.synsets)
            place = running.pop(task)
            if progress:
                progress(corpus.captions, part_size(parts[place]) or 0)
            yield place, corpus


def _count(settings: bytes, part: Part) -> dict[str, np.ndarray] | str:
    """Count a part, in a process of Ray's: its counts as arrays, or what is wrong with its files."""
    try:
        return _counting(settings).count(part).arrays()
    except UserError as error:
        return str(error)


@lru_cache(maxsize=1)
def _counting(settings: bytes) -> Counting:
    # Kept from part to part, with the words that its extractor has learned.
    return pickle.loads(settings)

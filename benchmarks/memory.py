"""Does the loader's memory grow? Ten epochs with two workers, and for each what all processes hold together.

Counted is what is theirs, by the system's proportional sizes: memory of their own, and what they share at the moment.
Libraries and other files are left out: how much of those is a process's own depends on who else has them open.

python benchmarks/memory.py 'SHARDS/train-*.tar' OUT.json
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from rich.console import Console

from catclip.captions import SynsetExtractor
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.config import DataConfig
from catclip.data.loader import Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.data.targets import LabelTargets
from catclip.environment import environment

EPOCHS, WORKERS, BATCH, SIZE = 10, 2, 256, 128


def held() -> int:
    """Bytes that this process and its workers hold."""
    workers = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    total = 0
    for pid in ("self", *workers):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("Pss_Anon", "Pss_Shmem"):
                total += 1024 * int(value.split()[0])
    return total


def main(sources: str, out: Path) -> None:
    config = DataConfig(sources=sources, caption_key="json.captions", captions="all", workers=WORKERS)
    extractor = SynsetExtractor()
    corpus = count_files(sources, extractor, caption_key=config.caption_key, captions="all")
    targets = LabelTargets(make_vocabulary(corpus, extractor, 1, "the shards measured"))
    pairs = Pairs(sources, config)
    batches = TrainingBatches(pairs, [targets], config, SIZE, Stream(pairs.order(0, config.shuffle), BATCH))
    steps = len(pairs) // BATCH
    loader = Loader(batches, 0, EPOCHS * steps, workers=WORKERS, max_bad=0.0)
    console, start = Console(highlight=False), time.perf_counter()
    looks: list[list[int]] = []  # by epoch, a look a step
    for step, _ in enumerate(loader):
        if step % steps == 0:
            looks.append([])
        looks[-1].append(held())
        if step % steps == steps - 1:
            middle, most = statistics.median(looks[-1]), max(looks[-1])
            console.print(
                f"epoch {len(looks):>2}: {middle / 2**20:,.1f} MiB in the median, {most / 2**20:,.1f} at the most"
            )
    figures = {
        "pairs": len(pairs),
        "epochs": EPOCHS,
        "workers": WORKERS,
        "batch": BATCH,
        "image_size": SIZE,
        "median_bytes": [int(statistics.median(epoch)) for epoch in looks],
        "most_bytes": [max(epoch) for epoch in looks],
        "batch_bytes": BATCH * 3 * SIZE**2,
        "seconds": time.perf_counter() - start,
    }
    out.write_text(json.dumps(figures | {"environment": environment()}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))

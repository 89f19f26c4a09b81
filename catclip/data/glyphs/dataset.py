"""The embedded data set: drawn pictures with captions as webdataset shards, and labelled folders for probes.

Each picture is drawn from its own random stream, named by seed, split and index. So the bytes depend on neither the
number of workers nor which of them drew it, and splits share no picture.
"""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random

from PIL import Image

from catclip.captions.counting.processes import end_with_parent
from catclip.data.glyphs.captions import caption_scene
from catclip.data.glyphs.objects import KINDS
from catclip.data.glyphs.scenes import Scene, draw_object, draw_scene
from catclip.errors import UserError

DESCRIPTION = "glyphs.json"
_VERSION = 1  # of the pictures and captions: raise it when the same settings give other bytes
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class GlyphSettings:
    """All that the bytes of the data set depend on, beside the version of this code.

    Attributes:
        train: Captioned training pictures.
        val: Captioned held-out pictures.
        size: Side of a picture in pixels.
        seed: Seed of every random choice.
        shard_size: Pictures in a shard.
        probe_train: Labelled training pictures of each kind.
        probe_test: Labelled test pictures of each kind.
    """

    train: int
    val: int
    size: int
    seed: int
    shard_size: int
    probe_train: int = 20
    probe_test: int = 5

    @property
    def pictures(self) -> int:
        """All pictures, labelled ones included."""
        return self.train + self.val + len(KINDS) * (self.probe_train + self.probe_test)


@dataclass(frozen=True)
class _ShardJob:
    """Pictures `start` to `stop` of a split, for one tar."""

    split: str
    start: int
    stop: int
    path: Path


@dataclass(frozen=True)
class _FolderJob:
    """The labelled pictures of one kind, for one folder."""

    split: str
    kind: int
    count: int
    folder: Path


_Job = _ShardJob | _FolderJob


def make_glyphs(
    out: Path,
    train: int = 20_000,
    val: int = 1_000,
    size: int = 64,
    seed: int = 0,
    shard_size: int = 1_000,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
    *,
    probe_train: int = 20,
    probe_test: int = 5,
) -> None:
    """Draw the data set into the folder `out`, or leave it as it is when it is there with the same settings.

    Writes ``train-*.tar`` and ``val-*.tar`` (webdataset: jpg, txt, json), ``probe/train/<class>/*.jpg`` and
    ``probe/test/<class>/*.jpg``, and ``glyphs.json``. Everything is drawn beside `out` and renamed at the end.

    Args:
        out: Folder to make.
        train: Captioned training pictures.
        val: Captioned held-out pictures.
        size: Side of a picture in pixels.
        seed: Seed of every random choice; the same seed gives the same bytes.
        shard_size: Pictures in a shard.
        workers: Processes that draw; 1 draws in this one.
        progress: Called with the number of pictures finished since the last call.
        probe_train: Labelled training pictures of each kind.
        probe_test: Labelled test pictures of each kind.

    Raises:
        UserError: A number is out of range, or `out` holds something else.
    """
    settings = GlyphSettings(train, val, size, seed, shard_size, probe_train, probe_test)
    _check(settings, workers)
    if is_made(out, settings):
        return
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)  # what an earlier run left when it was killed
    partial.mkdir(parents=True)
    try:
        with closing(_run_jobs(_plan(settings, partial), settings, workers)) as made:
            for finished in made:
                if progress:
                    progress(finished)
        (partial / DESCRIPTION).write_text(json.dumps(_describe(settings), indent=2) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def is_made(out: Path, settings: GlyphSettings) -> bool:
    """Whether `out` holds the whole data set with exactly these settings.

    Raises:
        UserError: `out` holds something else.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise UserError(f"{out} is a file. Choose another folder with out=…")
    if not any(out.iterdir()):
        return False
    description = out / DESCRIPTION
    try:
        found = json.loads(description.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise UserError(f"{out} is not empty, and holds no glyphs. Choose another folder with out=…") from None
    made_with = (found.get("version"), found.get("settings")) if isinstance(found, dict) else None
    if made_with != (_VERSION, asdict(settings)):
        raise UserError(
            f"{out} holds glyphs made with other settings (see {description}). "
            "Choose another folder with out=…, or delete this one."
        )
    missing = [name for name in _shard_names(settings) if not (out / name).is_file()]
    if missing:
        raise UserError(f"{out} has lost {missing[0]}. Delete the folder and make it anew.")
    return True


def _check(settings: GlyphSettings, workers: int) -> None:
    least = {"train": 1, "val": 0, "size": 32, "shard_size": 1, "probe_train": 0, "probe_test": 0}
    for name, low in least.items():
        if getattr(settings, name) < low:
            raise UserError(f"{name}={getattr(settings, name)}: must be at least {low}.")
    if workers < 1:
        raise UserError(f"workers={workers}: must be at least 1.")


def _describe(settings: GlyphSettings) -> dict[str, object]:
    shards = _shard_names(settings)
    classes = [{"name": kind.name, "wnid": kind.wnid, "nouns": list(kind.nouns)} for kind in KINDS]
    return {"version": _VERSION, "settings": asdict(settings), "shards": shards, "classes": classes}


# ---------------------------------------------------------------------------------------------------------------------
# Jobs: a shard, or the labelled pictures of one kind


def _plan(settings: GlyphSettings, out: Path) -> list[_Job]:
    jobs: list[_Job] = []
    for split, count in (("train", settings.train), ("val", settings.val)):
        for number, start in enumerate(range(0, count, settings.shard_size)):
            stop = min(start + settings.shard_size, count)
            jobs.append(_ShardJob(split, start, stop, out / f"{split}-{number:05d}.tar"))
    for split, count in (("train", settings.probe_train), ("test", settings.probe_test)):
        for index, kind in enumerate(KINDS):
            if count:
                jobs.append(_FolderJob(f"probe-{split}", index, count, out / "probe" / split / kind.name))
    return jobs


def _shard_names(settings: GlyphSettings) -> list[str]:
    return [job.path.name for job in _plan(settings, Path()) if isinstance(job, _ShardJob)]


def _run_jobs(jobs: list[_Job], settings: GlyphSettings, workers: int) -> Generator[int, None, None]:
    """Run the jobs and yield how many pictures each of them made, as they end."""
    if workers == 1:
        for job in jobs:
            yield _run_job(job, settings)
        return
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (stop,)) as pool:
        futures: list[Future[int]] = [pool.submit(_run_job, job, settings) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            stop.set()  # running jobs end at their next picture
            pool.shutdown(cancel_futures=True)
            raise


_stop: Event | None = None


def _start_worker(stop: Event) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent does, however it ended."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _run_job(job: _Job, settings: GlyphSettings) -> int:
    return _write_shard(job, settings) if isinstance(job, _ShardJob) else _write_folder(job, settings)


def _stopped() -> bool:
    return _stop is not None and _stop.is_set()


# ---------------------------------------------------------------------------------------------------------------------
# Samples


def _write_shard(job: _ShardJob, settings: GlyphSettings) -> int:
    from webdataset.writer import TarWriter  # imports torch: only the processes that write should wait for that

    with job.path.open("wb") as stream:
        writer = TarWriter(stream, user="catclip", group="catclip", mtime=0, encoder=False)
        for index in range(job.start, job.stop):
            if _stopped():
                break
            writer.write(_sample(job.split, index, settings))
        writer.close()
    return job.stop - job.start


def _sample(split: str, index: int, settings: GlyphSettings) -> dict[str, str | bytes]:
    rng = Random(f"{settings.seed}/{split}/{index}")
    scene = draw_scene(rng, settings.size)
    captions = caption_scene(scene, rng)
    key = f"{split}-{index:08d}"
    picture = _jpeg(scene.picture)
    meta = {
        "key": key,
        "caption": captions[0],
        "captions": captions,
        "status": "success",
        "width": settings.size,
        "height": settings.size,
        "sha256": hashlib.sha256(picture).hexdigest(),
        "background": scene.background,
        "pattern": scene.pattern,
        "objects": _objects(scene),
    }
    return {"__key__": key, "jpg": picture, "txt": captions[0].encode(), "json": json.dumps(meta).encode()}


def _objects(scene: Scene) -> list[dict[str, object]]:
    return [
        {
            "name": placed.kind.name,
            "wnid": placed.kind.wnid,
            "colour": placed.colour,
            "box": list(placed.box),
            "angle": placed.angle,
        }
        for placed in scene.objects
    ]


def _write_folder(job: _FolderJob, settings: GlyphSettings) -> int:
    job.folder.mkdir(parents=True)
    for index in range(job.count):
        if _stopped():
            break
        rng = Random(f"{settings.seed}/{job.split}/{KINDS[job.kind].name}/{index}")
        scene = draw_object(KINDS[job.kind], rng, settings.size)
        (job.folder / f"{index:04d}.jpg").write_bytes(_jpeg(scene.picture))
    return job.count


def _jpeg(picture: Image.Image) -> bytes:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)  # whole chroma: objects are a few pixels wide
    return stream.getvalue()

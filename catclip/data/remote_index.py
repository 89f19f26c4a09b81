"""The indexes of remote shards: those that lie beside them, or else made once and kept in the cache."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from catclip.captions.sources.files import open_raw
from catclip.data.cache.shard_cache import ShardCache
from catclip.data.index import ShardIndex, index_address
from catclip.errors import UserError
from catclip.files import writing


def remote_index(address: str, cache: ShardCache) -> ShardIndex:
    """Return the index of a remote shard; the shard is fetched if none lies beside it or in the cache.

    Raises:
        UserError: it cannot be fetched, or the cache cannot be written.
    """
    kept = _kept(address, cache)
    if index := ShardIndex.load(kept):
        return index
    index = _beside(address) or ShardIndex.scan(cache.local(address))
    with writing(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        own = kept.with_name(f"{kept.name}.{uuid4().hex}")  # several ranks may be at it
        index.save(own)
        os.replace(own, kept)
    return index


def forget_index(address: str, cache: ShardCache) -> None:
    """Remove a shard's index from the cache: the shard has changed."""
    _kept(address, cache).unlink(missing_ok=True)


def _kept(address: str, cache: ShardCache) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return cache.folder / "index" / f"{digest}.index.parquet"


def _beside(address: str) -> ShardIndex | None:
    """Return the index that `catclip data pack` or `check` wrote, and someone copied along with the shard."""
    if address.startswith("pipe:"):
        return None
    with suppress(OSError, UserError), open_raw(index_address(address)) as file, TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        path.write_bytes(file.read())
        return ShardIndex.load(path)
    return None

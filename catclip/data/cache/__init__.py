"""Remote shards as files of this machine: fetched, kept in a folder of bounded size, and waited for.

Other files import from here.
"""

from catclip.data.cache.patience import UnreachableError
from catclip.data.cache.shard_cache import ShardCache
from catclip.data.cache.sizes import parse_size, size_in_words

__all__ = ["ShardCache", "UnreachableError", "parse_size", "size_in_words"]

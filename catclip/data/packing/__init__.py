"""A folder of pictures and their captions → webdataset shards with an index."""

from catclip.data.packing.pack import Packed, pack, tell_skipped

__all__ = ["Packed", "pack", "tell_skipped"]

"""Captions out of files of every kind: text, tables, JSON lines, webdataset shards, here or at an address.

Other rooms import from here.
"""

from catclip.captions.sources.files import expand
from catclip.captions.sources.patterns import WeightedFile, describe, weighted_files
from catclip.captions.sources.samples import CAPTION_KEYS, captions_of

__all__ = ["CAPTION_KEYS", "WeightedFile", "captions_of", "describe", "expand", "weighted_files"]

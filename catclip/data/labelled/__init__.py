"""Downstream labelled images: class folders, `.cls` shards, COCO instance files, tables → one plain object.

Other rooms import from here.
"""

from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.opening import Splits, open_labelled, open_splits

__all__ = ["LabelledImages", "Splits", "open_labelled", "open_splits"]

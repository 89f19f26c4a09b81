"""Samples as tiles of a contact sheet: the pictures as they are stored, whole."""

from PIL import Image

from catclip.captions import Vocabulary
from catclip.data.checking.checker import UNDECODABLE
from catclip.data.images import BadImageError, decode, held_out_picture, picture_size
from catclip.data.pairs import BadSampleError, Pairs
from catclip.data.sheet import Tile, fitted
from catclip.data.targets import LabelTargets


def stored_tile(pairs: Pairs, vocabulary: Vocabulary | None, place: tuple[int, int], side: int) -> Tile:
    """Return the sample (shard, row); where it cannot be read the tile says why.

    Args:
        pairs: to read.
        vocabulary: whose labels are shown.
        place: the sample's.
        side: pixels at the most of the picture's sides.
    """
    key = pairs.key(*place)
    labels: list[str] | None = None
    captions: list[str] = []
    try:
        data, captions = pairs.read(*place)
        if vocabulary:
            selected = captions[:1] if pairs.mode == "first" else captions
            found = LabelTargets(vocabulary).labels(pairs.annotation(*place, selected))
            labels = [vocabulary.names[label] for label in found]
        picture = fitted(_whole(data, side), side)
        note = "{} × {}".format(*picture_size(data))
    except BadSampleError as error:
        return Tile(None, key, str(error), captions, labels)
    except BadImageError:
        return Tile(None, key, UNDECODABLE, captions, labels)
    return Tile(picture, key, note, captions, labels)


def _whole(data: bytes, side: int) -> Image.Image:
    try:
        return decode(data, at_least=side)
    except BadImageError:  # of what Pillow refuses, training may still read a part
        return Image.fromarray(held_out_picture(data, side).permute(1, 2, 0).numpy())

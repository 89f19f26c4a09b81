"""Samples as tiles of a contact sheet: the pictures as they are stored, whole."""

from catclip.captions import Vocabulary
from catclip.data.checking.checker import UNDECODABLE, measure
from catclip.data.images import BadImageError, decode
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
        picture = fitted(decode(data, at_least=side), side)
    except BadSampleError as error:
        return Tile(None, key, str(error), captions, labels)
    except BadImageError:
        return Tile(None, key, UNDECODABLE, captions, labels)
    _, width, height = measure(data)
    return Tile(picture, key, f"{width} × {height}", captions, labels)

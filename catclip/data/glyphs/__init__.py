"""The embedded data set: drawn pictures with captions, nothing downloaded.

`objects` and `shapes` say what there is, `masks` and `scenes` draw it, `nouns` and `captions` describe it, and
`dataset` writes the shards.
"""

from catclip.data.glyphs.dataset import GlyphSettings, is_made, make_glyphs

__all__ = ["GlyphSettings", "is_made", "make_glyphs"]

from catclip.data.glyphs.colours import TYPICAL_COLOURS
from catclip.data.glyphs.objects import KINDS
from catclip.data.glyphs.scenes import OBJECT_COLOURS


def test_every_kind_has_typical_colours_that_can_be_drawn():
    assert TYPICAL_COLOURS.keys() == {kind.name for kind in KINDS}
    assert all(set(colours) <= OBJECT_COLOURS.keys() for colours in TYPICAL_COLOURS.values())

"""The kinds of object in the embedded data set: what each is called, which synset it is, how it is drawn.

The table is in order of frequency: the kind at rank r is drawn with a probability proportional to 1 / r (Zipf's law).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        nouns: WordNet lemmas of the synset (of nouns without a singular, the plural), the most usual first; it names
            the class. Captions use all of them.
        wnid: WordNet 3.0 synset: ``n`` and eight digits.
        glyphs: Characters of the font, any of which may be drawn; empty: the shape of the same name.
        outline: The glyph is an outline: what it encloses takes the object's colour, its lines a contrasting tone.
        mirror: May be drawn mirrored.
        tilt: Largest rotation to either side, in degrees.
    """

    nouns: tuple[str, ...]
    wnid: str
    glyphs: str = ""
    outline: bool = False
    mirror: bool = True
    tilt: int = 25

    @property
    def name(self) -> str:
        """The class name: a lemma as WordNet spells it, with underscores."""
        return self.nouns[0]


def _kind(
    nouns: str, wnid: str, glyphs: str = "", *, outline: bool = False, mirror: bool = True, tilt: int = 25
) -> Kind:
    return Kind(tuple(nouns.split()), wnid, glyphs, outline, mirror, tilt)


KINDS: tuple[Kind, ...] = (
    _kind("car auto automobile", "n02958343"),
    _kind("star", "n09444100", "★"),
    _kind("tree", "n13104059"),
    _kind("airplane plane aeroplane", "n02691156", "✈"),
    _kind("house", "n03544360"),
    _kind("cat", "n02121620", "\U0001f431", outline=True),
    _kind("heart", "n13865904", "♥❤"),
    _kind("umbrella", "n04507155", "☂"),
    _kind("fish", "n02512053"),
    _kind("flower", "n11669921", "✿❀"),
    _kind("bicycle bike", "n02834778"),
    _kind("dog", "n02084071"),
    _kind("telephone phone", "n04401088", "☎"),
    _kind("circle", "n13873502"),
    _kind("bird", "n01503061"),
    _kind("clock", "n03046257", mirror=False),
    _kind("apple", "n07739125"),
    _kind("boot", "n02872752"),
    _kind("chair", "n03001627"),
    _kind("sun", "n09450163", "☀"),
    _kind("triangle", "n13879320"),
    _kind("bus autobus", "n02924116"),
    _kind("horse", "n02374451", "♞"),
    _kind("bottle", "n02876657"),
    _kind("key", "n03613294"),
    _kind("cup", "n03147509", "☕", outline=True, mirror=False),
    _kind("book", "n02870092"),
    _kind("cloud", "n09247410", "☁"),
    _kind("shirt", "n04197391"),
    _kind("balloon", "n02782093"),
    _kind("guitar", "n03467517"),
    _kind("sailboat", "n04128499"),
    _kind("scissors", "n04148054", "✂"),
    _kind("butterfly", "n02274259"),
    _kind("square", "n13878634", tilt=15),
    _kind("truck", "n04490091"),
    _kind("mushroom", "n07734744"),
    _kind("anchor", "n02709367", "⚓"),
    _kind("pizza", "n07873807"),
    _kind("flag", "n03354903", "⚑"),
    _kind("camera", "n02942699"),
    _kind("rabbit", "n02324045"),
    _kind("ladder", "n03632277"),
    _kind("arrow", "n06818121", "➡"),
    _kind("hat chapeau", "n03497657"),
    _kind("leaf", "n13152742"),
    _kind("bed", "n02818832"),
    _kind("snowflake", "n11509066", "❄❅❆"),
    _kind("knife", "n03623556"),
    _kind("train", "n04468005"),
    _kind("cow", "n02403454", "\U0001f42e", outline=True),
    _kind("lamp", "n03636248"),
    _kind("ring", "n04092609"),
    _kind("fork", "n03383948"),
    _kind("musical_note", "n06865345", "♪♫", mirror=False),
    _kind("eye", "n05311054"),
    _kind("pencil", "n03908204", "✎✏"),
    _kind("sofa couch", "n04256520"),
    _kind("mouse", "n02330245", "\U0001f42d", outline=True),
    _kind("rocket", "n04099429"),
    _kind("ball", "n02778669"),
    _kind("envelope", "n03291819", "✉", outline=True),
    _kind("bell", "n02824448"),
    _kind("dress frock", "n03236735"),
    _kind("snake serpent", "n01726692"),
    _kind("cross", "n03135532", "✝", tilt=15),
    _kind("die", "n03191029", "⚀⚁⚂⚃⚄⚅", outline=True),
    _kind("candle", "n02948072"),
    _kind("crown", "n03138669", "♛"),
    _kind("banana", "n07753592"),
    _kind("mountain", "n09359803", tilt=8),
    _kind("sword", "n04373894"),
    _kind("duck", "n01846331"),
    _kind("trousers", "n04489008"),
    _kind("crescent", "n13896217"),
    _kind("monkey", "n02484322", "\U0001f435", outline=True),
    _kind("hamburger burger beefburger", "n07697100"),
    _kind("keyboard", "n03614007", "⌨", mirror=False),
    _kind("door", "n03221720", tilt=15),
    _kind("spider", "n01772222"),
    _kind("laptop", "n03642806"),
    _kind("lightning", "n11475279", "⚡"),
    _kind("snowman", "n04251983", tilt=15),
    _kind("strawberry", "n07745940"),
    _kind("wheelchair", "n04576002", "♿"),
    _kind("bone", "n05269901"),
    _kind("gear gear_wheel cogwheel", "n03430551", "⚙"),
    _kind("tent", "n04411264", tilt=12),
    _kind("sunglasses", "n04356056"),
    _kind("hourglass", "n03544143"),
    _kind("elephant", "n02503517"),
    _kind("light_bulb bulb lightbulb", "n03665924"),
    _kind("playing_card", "n03963982", "\U0001f0a1\U0001f0be\U0001f0c7\U0001f0db", outline=True, mirror=False),
    _kind("penguin", "n02055803"),
    _kind("padlock", "n03874599"),
    _kind("cherry", "n07757132"),
    _kind("smiley", "n06280162", "☺", outline=True),
    _kind("helicopter chopper", "n03512147"),
    _kind("wheel", "n04574999", "☸"),
    _kind("cactus", "n11842204"),
    _kind("rook", "n02980625", "♜"),
    _kind("skull", "n05540121"),
    _kind("bucket pail", "n02909870"),
    _kind("windmill", "n04587559", tilt=12),
    _kind("crab", "n01976957"),
    _kind("ice-cream_cone", "n07614730"),
    _kind("necktie tie", "n03815615"),
    _kind("hammer", "n03481172"),
    _kind("snail", "n01944390"),
    _kind("ship", "n04194289"),
    _kind("carrot", "n07730207"),
    _kind("trophy", "n04487996"),
    _kind("wineglass", "n04592099"),
    _kind("atom", "n14619225", "⚛"),
    _kind("owl", "n01621127"),
    _kind("teapot", "n04398044"),
    _kind("magnet", "n03705379"),
    _kind("question_mark", "n06844040", "?", mirror=False),
    _kind("tractor", "n04465501"),
    _kind("bee", "n02206856"),
    _kind("spiral", "n13876371"),
    _kind("bomb", "n02866578"),
    _kind("shamrock", "n11753700", "☘"),
    _kind("drum", "n03249569"),
    _kind("check_mark", "n06818747", "✔", mirror=False),
    _kind("dumbbell", "n03255030"),
    _kind("coffin casket", "n03064758"),
    _kind("ladybug ladybird", "n02165456"),
    _kind("submarine", "n04347754"),
    _kind("hand", "n05564590"),
    _kind("spade", "n04266660"),
)

"""Captions for scenes: many sentence patterns, right about the picture, and some as useless as the web's are."""

from dataclasses import dataclass
from itertools import groupby
from random import Random

from catclip.data.glyphs.nouns import bare, counted, definite, indefinite_article, join, takes_plural_verb
from catclip.data.glyphs.objects import Kind
from catclip.data.glyphs.scenes import Box, PlacedObject, Scene

_NOISE = 0.1  # share of captions that are noisy
_LARGE, _SMALL = 0.58, 0.34  # longer side as a share of the picture's


@dataclass(frozen=True)
class _Group:
    """The objects of one kind in a scene: how many, their common colour if they have one, the box around them all."""

    kind: Kind
    count: int
    colour: str | None
    box: Box
    size: str | None


@dataclass(frozen=True)
class _Mention:
    """A group as one caption names it: an indefinite phrase, a definite one, a title, and the verb that fits."""

    phrase: str
    the: str
    title: str
    noun: str
    verb: str
    the_verb: str


def caption_scene(scene: Scene, rng: Random) -> list[str]:
    """Two different captions for a scene. Either may be noisy, never both."""
    groups = _group(scene)
    first_noisy = rng.random() < _NOISE
    second_noisy = not first_noisy and rng.random() < _NOISE
    first = _noisy_caption(groups, rng) if first_noisy else _clean_caption(scene, groups, rng)
    while True:
        second = _noisy_caption(groups, rng) if second_noisy else _clean_caption(scene, groups, rng)
        if second != first:
            return [first, second]


# ---------------------------------------------------------------------------------------------------------------------
# What there is to say


def _group(scene: Scene) -> list[_Group]:
    groups = []
    for kind, members in groupby(scene.objects, lambda placed: placed.kind):
        objects = list(members)
        colours = {placed.colour for placed in objects}
        lefts, tops, rights, bottoms = zip(*(placed.box for placed in objects), strict=True)
        box = (min(lefts), min(tops), max(rights), max(bottoms))
        colour = objects[0].colour if len(colours) == 1 else None
        groups.append(_Group(kind, len(objects), colour, box, _size_word(objects, scene.picture.width)))
    return groups


def _size_word(objects: list[PlacedObject], picture: int) -> str | None:
    shares = [max(p.box[2] - p.box[0], p.box[3] - p.box[1]) / picture for p in objects]
    if min(shares) > _LARGE:
        return "big"
    return "small" if max(shares) < _SMALL else None


def _mention(group: _Group, rng: Random) -> _Mention:
    nouns = group.kind.nouns
    noun = (nouns[0] if rng.random() < 0.6 else rng.choice(nouns)).replace("_", " ")
    colour = group.colour if group.colour and rng.random() < 0.6 else ""
    if colour == "grey" and rng.random() < 0.5:
        colour = "gray"
    size = ""
    if group.size and rng.random() < 0.2:
        size = rng.choice(("big", "large") if group.size == "big" else ("small", "little", "tiny"))
    adjectives = join(size, colour)
    phrase = counted(noun, group.count, adjectives, rng)
    if group.count > 1 and not group.colour and rng.random() < 0.3:
        phrase += " in different colours"
    the = definite(noun, group.count, adjectives)
    return _Mention(
        phrase,
        the,
        bare(noun, group.count, adjectives),
        noun,
        "are" if takes_plural_verb(phrase, noun, group.count) else "is",
        "are" if takes_plural_verb(the, noun, group.count) else "is",
    )


# ---------------------------------------------------------------------------------------------------------------------
# Clean captions


def _clean_caption(scene: Scene, groups: list[_Group], rng: Random) -> str:
    chosen = rng.sample(groups, len(groups))
    if len(groups) > 1 and rng.random() < 0.15:  # people leave things out
        chosen = chosen[:-1]
    match len(chosen):
        case 1:
            text = _about_one(scene, chosen[0], len(groups) == 1, rng)
        case 2:
            text = _about_two(scene, chosen[0], chosen[1], rng)
        case _:
            text = _about_many(scene, chosen, rng)
    return _typeset(text, rng)


def _about_one(scene: Scene, group: _Group, alone: bool, rng: Random) -> str:
    m = _mention(group, rng)
    patterns = [
        m.phrase,
        m.title,
        f"there {m.verb} {m.phrase}",
        f"{m.phrase} {_surface(scene, rng)}",
        f"{m.phrase} {_surface(scene, rng)}",
        f"{rng.choice(_MEDIA)} {m.phrase}",
        f"look at {m.the}",
        f"we saw {m.phrase} {rng.choice(('today', 'here', 'again', 'yesterday'))}",
        f"who has drawn {m.the}?",
        f"here {m.verb} {m.phrase}",
    ]
    if place := _place(group.box, scene.picture.width):
        patterns += [f"{m.phrase} {place}", f"{m.the} {m.the_verb} {place}"]
    if group.colour and group.count == 1:
        patterns.append(f"the {m.noun} {m.the_verb} {group.colour}")
    if alone:
        patterns += [f"{m.phrase} and nothing else", f"only {m.phrase} {_surface(scene, rng)}"]
    return rng.choice(patterns)


def _about_two(scene: Scene, a: _Group, b: _Group, rng: Random) -> str:
    m, n = _mention(a, rng), _mention(b, rng)
    relation = _relation(a.box, b.box, rng)
    patterns = [
        f"{m.phrase} {relation} {n.phrase}",
        f"{m.phrase} {relation} {n.phrase}",
        f"{m.phrase} {relation} {n.phrase}",
        f"{m.the} {m.the_verb} {relation} {n.the}",
        f"there {m.verb} {m.phrase} {relation} {n.phrase}",
        f"{m.phrase} and {n.phrase}",
        f"{m.phrase} and {n.phrase} {_surface(scene, rng)}",
        f"{m.phrase} with {n.phrase}",
        f"{m.title} and {n.title}",
        f"{rng.choice(_MEDIA)} {m.phrase} and {n.phrase}",
        f"you can see {m.phrase} and also {n.phrase}",
        f"not only {m.phrase} but also {n.phrase}",
    ]
    return rng.choice(patterns)


def _about_many(scene: Scene, groups: list[_Group], rng: Random) -> str:
    mentions = [_mention(group, rng) for group in groups]
    phrases = [m.phrase for m in mentions]
    listed = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    relation = _relation(groups[0].box, groups[1].box, rng)
    patterns = [
        listed,
        listed,
        f"there {mentions[0].verb} {listed}",
        f"{rng.choice(_MEDIA)} {listed}",
        f"{listed} {_surface(scene, rng)}",
        f"{phrases[0]} {relation} {phrases[1]}, with {' and '.join(phrases[2:])}",
        f"{phrases[0]} {relation} {phrases[1]}, and also {' and '.join(phrases[2:])}",
        ", ".join(m.title for m in mentions),
    ]
    return rng.choice(patterns)


_MEDIA = ("a picture of", "a photo of", "a drawing of", "a print of", "an icon of")


def _surface(scene: Scene, rng: Random) -> str:
    """On what the objects lie: the background's colour, or its pattern."""
    colour = scene.background
    a_colour = f"{indefinite_article(colour)} {colour}"
    choices = [f"on {colour}", f"on {a_colour} background", f"against {a_colour} background"]
    if scene.pattern == "stripes":
        choices += ["on stripes", "on striped paper"]
    if scene.pattern == "checker":
        choices += ["on a checked background", f"on checked {colour}"]
    return rng.choice(choices)


def _place(box: Box, picture: int) -> str | None:
    """Where in the picture a box lies, when that is clear."""
    x, y = (box[0] + box[2]) / 2 / picture, (box[1] + box[3]) / 2 / picture
    columns = "left" if x < 0.4 else "right" if x > 0.6 else ""
    rows = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    if rows and columns:
        return f"at the {rows} {columns}"
    if columns:
        return f"on the {columns}"
    if rows:
        return f"at the {rows}"
    return "in the middle" if abs(x - 0.5) < 0.06 and abs(y - 0.5) < 0.06 else None


def _relation(a: Box, b: Box, rng: Random) -> str:
    """How `a` lies to `b`: sideways or up and down only where their boxes do not share that direction."""
    relations = ["near", "close to"]
    level = min(a[3], b[3]) > max(a[1], b[1])  # they share some rows
    if a[2] <= b[0]:
        relations += ["to the left of", "left of"] + ["beside", "next to"] * level
    elif b[2] <= a[0]:
        relations += ["to the right of", "right of"] + ["beside", "next to"] * level
    if a[3] <= b[1]:
        relations += ["above", "over"]
    elif b[3] <= a[1]:
        relations += ["below", "under"]
    return rng.choice(relations)


def _typeset(text: str, rng: Random) -> str:
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    if not text.endswith("?") and rng.random() < 0.35:
        text += "."
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Noisy captions


def _noisy_caption(groups: list[_Group], rng: Random) -> str:
    if rng.random() < 0.5:
        return _empty_caption(rng)
    m = _mention(rng.choice(groups), rng)
    words = m.title.split()
    price = f"${rng.randint(1, 99)}.{rng.choice((0, 49, 95, 99)):02d}"
    return rng.choice(
        (
            f"{'_'.join(words)}_{rng.randint(1, 99):02d}.{rng.choice(('jpg', 'png', 'gif'))}",
            f"{m.title.title()} - {price}",
            f"{m.title} #{m.noun.replace(' ', '').replace('-', '')} #{rng.choice(_TAGS)}",
            f"{m.title.upper()} !!! {price} ONLY",
            f"{m.title.title()} | {rng.choice(_SITES)}",
            f"Re: {m.the}",
            f"<b>{m.title.title()}</b>&nbsp;({rng.randint(2, 400)})",
            f"{m.phrase} :) #{rng.choice(_TAGS)}",
        )
    )


def _empty_caption(rng: Random) -> str:
    """A caption that names nothing in the picture."""
    return rng.choice(
        (
            f"IMG_{rng.randint(0, 9999):04d}.jpg",
            f"DSC{rng.randint(0, 99999):05d}.JPG",
            f"{rng.randint(2005, 2024)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d} {rng.randint(0, 23):02d}:00",
            f"${rng.randint(1, 99)}.99",
            f"{rng.randint(10, 70)}% off!!!",
            f"#{rng.choice(_TAGS)} #{rng.choice(_TAGS)}",
            f"({rng.randint(2, 90)}) untitled",
            "lol so cute",
            "click here to see more",
            "no caption",
            "this is mine, please do not copy",
            f"thumb_{rng.randint(100, 999)}x{rng.randint(100, 999)}",
        )
    )


_TAGS = ("nofilter", "love", "cute", "instagood", "tbt", "new", "wow", "follow4follow", "art", "vintage")
_SITES = ("Free Shipping", "Buy Online", "Royalty Free", "clipart.example.com", "Pinned by Anna", "Sale -20%")

"""How good the labels of captions are: the default rule beside the published one, each against its target.

What is judged must not be what the tables were made from: `taggers.EVIDENCE`, `vocab/usage.tsv` and `vocab/senses.tsv`
were written with the first 100,000 captions of Flickr30k, and web captions, in view. So its last ones are judged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from catclip.captions.clean import clean, published_clean, published_tokenize, tokenize
from catclip.captions.explain import explain
from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import read_table
from catclip.captions.taggers import LexiconTagger, Tagger
from catclip.errors import UserError

# What must be reached: at least, or for a share of errors at most.
TARGETS = {
    "noun_precision": 0.98,
    "noun_recall": 0.965,
    "no_noun_share": 0.04,
    "imagenet_names": 900,
    "imagenet_reachable": 950,
    "coco_classes": 78,
}
AT_MOST = ("no_noun_share",)

Nouns = list[list[bool]]
Agreed = list[list[bool | None]]  # of each token: noun, no noun, None where the models disagree, and for signs


def is_reached(key: str, value: float) -> bool:
    """Whether a figure meets its target."""
    return value <= TARGETS[key] if key in AT_MOST else value >= TARGETS[key]


def make_extractors() -> dict[str, SynsetExtractor]:
    """Return the rules to set side by side: ``default`` is judged, the others say what each of its parts adds."""
    unreviewed = SynsetExtractor()
    unreviewed.senses.overrides = {}
    return {
        "published": SynsetExtractor(rule="reference"),
        "first_sense": SynsetExtractor(sense="first"),
        "unreviewed": unreviewed,
        "default": SynsetExtractor(),
    }


# ---- ImageNet's classes ---------------------------------------------------------------------------------------------


def imagenet_figures(extractor: SynsetExtractor) -> dict[str, float]:
    """Return how many of ImageNet-1k's classes are found.

    `imagenet_names`: the first of the names that timm lists, alone, gives the class's WNID and nothing else.
    `imagenet_reachable`: some lemma of the class's synset gives it in "a photo of a LEMMA."

    Raises:
        UserError: timm, which knows the classes, is not installed.
    """
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        raise UserError("timm, which lists them, is not installed: pip install timm") from None
    info = ImageNetInfo()
    wnids = info.label_names()
    names = [info.index_to_description(index).partition(",")[0] for index in range(len(wnids))]
    labels = extractor.extract_many(names)
    return {
        "imagenet_names": sum(found == [wnid] for wnid, found in zip(wnids, labels, strict=True)),
        "imagenet_reachable": sum(_is_reachable(extractor, wnid) for wnid in wnids),
    }


def _is_reachable(extractor: SynsetExtractor, wnid: str) -> bool:
    lemmas = (lemma.replace("_", " ") for lemma in extractor.lexicon.lemmas(wnid))
    return any(wnid in extractor(f"a photo of a {lemma}.") for lemma in lemmas)


# ---- COCO's classes -------------------------------------------------------------------------------------------------


class CocoClass(NamedTuple):
    """A class of COCO: the synsets that it is, and where WordNet lacks it, the nearest above."""

    name: str
    plural: str
    synsets: set[str]
    nearest: set[str]


def read_coco(path: Path) -> list[CocoClass]:
    """Read the reviewed table of COCO's classes.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(
            f"coco={path} is no file: give benchmarks/coco80.tsv of the sources, or coco=null to leave its row out."
        )
    rows = read_table(path, ("class", "plural", "synsets", "nearest", "names", "note"))
    return [CocoClass(row[0], row[1], _wnids(row[2]), _wnids(row[3])) for row in rows]


def _wnids(text: str) -> set[str]:
    return set(text.split()) - {"-"}


def coco_figures(extractor: SynsetExtractor, classes: Sequence[CocoClass]) -> dict[str, float]:
    """Return how many classes give a label that is the class or a kind of it, both in the singular and the plural.

    `coco_classes_exact` leaves out those that are found only as the nearest synset above the class.
    """
    return {
        "coco_classes": sum(_is_named(extractor, each, each.synsets | each.nearest) for each in classes),
        "coco_classes_exact": sum(_is_named(extractor, each, each.synsets) for each in classes),
    }


def _is_named(extractor: SynsetExtractor, coco: CocoClass, right: set[str]) -> bool:
    texts = (f"There is a {coco.name} in the picture.", f"There are two {coco.plural} in the picture.")
    above = extractor.lexicon.ancestors
    return all(any(right & {wnid, *above(wnid)} for wnid in extractor(text)) for text in texts)


# ---- two taggers ----------------------------------------------------------------------------------------------------


def agreed_nouns(captions: Sequence[list[str]], models: Sequence[Tagger]) -> Agreed:
    """Return which tokens are nouns by all the models, and which by none of them."""
    votes = zip(captions, *(model.nouns(captions) for model in models), strict=True)
    return [[_agreed(*vote) for vote in zip(tokens, *nouns, strict=True)] for tokens, *nouns in votes]


def _agreed(token: str, *votes: bool) -> bool | None:
    return votes[0] if token[0].isalpha() and len(set(votes)) == 1 else None


def noun_figures(captions: Sequence[str], models: Sequence[Tagger]) -> dict[str, float]:
    """Return precision and recall of three ways to tell nouns, on the words about which the models agree.

    ``default`` is captions.tagger=lexicon; ``none`` and ``published`` take the words to which captions.tagger=none and
    the published rule would give a label.
    """
    extractor = SynsetExtractor()
    tokens = [tokenize(clean(caption)) for caption in captions]
    agreed = agreed_nouns(tokens, models)
    words = sum(token[0].isalpha() for caption in tokens for token in caption)
    known = sum(each is not None for caption in agreed for each in caption)
    ways = {
        "published": [[extractor.read_published(token.lower()).wnid is not None for token in each] for each in tokens],
        "none": [[extractor.read(token.lower()).wnid is not None for token in each] for each in tokens],
        "default": list(LexiconTagger(extractor.lexicon).nouns(tokens)),
    }
    figures: dict[str, float] = {"words": words, "agreed_share": known / words}
    for way, nouns in ways.items():
        figures |= {f"{way}.{key}": value for key, value in _precision_and_recall(nouns, agreed).items()}
    return figures


def _precision_and_recall(nouns: Nouns, agreed: Agreed) -> dict[str, float]:
    pairs = [pair for each in zip(nouns, agreed, strict=True) for pair in zip(*each, strict=True)]
    right = sum(noun and truth is True for noun, truth in pairs)
    wrong = sum(noun and truth is False for noun, truth in pairs)
    missed = sum(not noun and truth is True for noun, truth in pairs)
    return {"noun_precision": right / (right + wrong), "noun_recall": right / (right + missed)}


def label_figures(extractor: SynsetExtractor, captions: Sequence[str], models: Sequence[Tagger]) -> dict[str, float]:
    """Return the share of labels whose word, the last of a multiword noun, is no noun, where the models agree."""
    tokens = [_tokens(extractor, caption) for caption in captions]
    truths = [
        truth[each.stop - 1]
        for caption, truth in zip(captions, agreed_nouns(tokens, models), strict=True)
        for each in explain(extractor, caption)
        if each.reading.wnid
    ]
    wrong, known = truths.count(False), len(truths) - truths.count(None)
    return {"no_noun_share": wrong / known, "labels_a_caption": len(truths) / len(captions)}


def _tokens(extractor: SynsetExtractor, caption: str) -> list[str]:
    if extractor.rule == "reference":
        return published_tokenize(published_clean(caption))
    return tokenize(clean(caption))

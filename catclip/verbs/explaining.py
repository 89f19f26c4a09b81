"""An explanation of a caption's labels as tables for a terminal of 80 columns."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from catclip.captions.explain import Explanation
from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import Lexicon
from catclip.captions.senses import Candidate
from catclip.captions.vocabulary import Vocabulary

SENSES_SHOWN = 4  # of a lemma, beside the chosen one
LEGEND = (
    "The number is the sense's place in WordNet's order; times: how often its tagged texts have it; seen: how likely "
    "a picture shows it, by category, times and place."
)


def tables(extractor: SynsetExtractor, explained: list[Explanation], vocabulary: Vocabulary | None = None) -> Group:
    """Return what became of each word, and the senses that each lemma could have had."""
    parts: list[RenderableType] = [_settings(extractor), "", _words(extractor.lexicon, explained, vocabulary)]
    if any(each.reading.lemma for each in explained):
        parts += ["", _senses(extractor, explained), "", LEGEND]
    return Group(*parts)


def _settings(extractor: SynsetExtractor) -> str:
    if extractor.rule == "reference":
        return "rule=reference: CatLIP's published rule, which looks at each word alone."
    return f"rule=default, captions.tagger={extractor.tagger}, captions.sense={extractor.sense}"


def _words(lexicon: Lexicon, explained: list[Explanation], vocabulary: Vocabulary | None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("word", overflow="fold", max_width=20)
    tagged = any(each.tag for each in explained)
    if tagged:
        table.add_column("tag", no_wrap=True)
    table.add_column("label", overflow="fold", max_width=24)
    if vocabulary is not None:
        table.add_column("vocabulary", overflow="fold", max_width=18)
    table.add_column("why", overflow="fold")
    for _, _, text, tag, reading, _ in explained:
        label = lexicon.name(reading.wnid) if reading.wnid else ""
        place = [] if vocabulary is None else [_place(vocabulary, lexicon, reading.wnid)]
        why = f"{reading.lemma}: {reading.why}" if reading.lemma else reading.why
        cells = (text, *([tag] if tagged else []), label, *place, why)
        table.add_row(*map(Text, cells), style="bold" if reading.wnid else None)
    return table


def _place(vocabulary: Vocabulary, lexicon: Lexicon, wnid: str | None) -> str:
    if wnid is None:
        return ""
    indices = vocabulary.labels([wnid])
    if not indices:
        return "not in it"
    (index,) = indices
    into = vocabulary.wnids[index]
    return f"label {index}" + ("" if into == wnid else f", {lexicon.name(into)}")


def _senses(extractor: SynsetExtractor, explained: list[Explanation]) -> Table:
    """Return the senses of each lemma once, the chosen one marked; of the others no more than a few."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("senses", no_wrap=True, max_width=25)
    for column in ("WNID", "category"):
        table.add_column(column, no_wrap=True)
    table.add_column("kind of", no_wrap=True, max_width=14)
    for column in ("times", "seen"):
        table.add_column(column, justify="right", no_wrap=True)
    done = set()
    for *_, (lemma, wnid, _), candidates in explained:
        if lemma and (lemma, wnid) not in done:
            done.add((lemma, wnid))
            _add_senses(table, extractor.lexicon, lemma, wnid, candidates)
    return table


def _add_senses(table: Table, lexicon: Lexicon, lemma: str, chosen: str | None, candidates: list[Candidate]) -> None:
    def add(wnid: str, place: str, *numbers: str) -> None:
        above = ", ".join(lexicon.name(each).rpartition(".n.")[0] for each in lexicon.hypernyms(wnid))
        sense = f"{'*' if wnid == chosen else ' '}{place:>2} {lexicon.name(wnid)}"
        table.add_row(*map(Text, (sense, wnid, lexicon.category(wnid), above, *numbers)))

    table.add_row(Text(lemma), style="bold")
    shown = [each for i, each in enumerate(candidates) if i < SENSES_SHOWN or each.wnid == chosen]
    if chosen and all(each.wnid != chosen for each in candidates):  # the reviewed table may name any synset
        add(chosen, "")
    for place, wnid, times, visibility in shown:
        add(wnid, str(place), f"{times:,}", f"{visibility:.1f}")
    if len(shown) < len(candidates):
        table.add_row(Text(f"    and {len(candidates) - len(shown)} more"))

"""A vocabulary as one HTML page to search: all it needs is inside, and it asks the network for nothing."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.hierarchy import path as path_of
from catclip.captions.lexicon import CATEGORIES, load_lexicon
from catclip.captions.prune import MIN_DEPTH, Pruner
from catclip.captions.report.coverage import coverage_of, pruning_of
from catclip.captions.report.mark import GENERATOR
from catclip.captions.vocabulary import Vocabulary
from catclip.files import write_atomically

_PARTS = Path(__file__).parent / "page"  # the page's template, style and script


def write_page(corpus: CorpusCounts, vocabulary: Vocabulary, glosses: Mapping[str, str], path: Path) -> None:
    """Write the page of a vocabulary.

    Args:
        corpus: what was counted: the pruned tail and the captions are its.
        vocabulary: what was made of it.
        glosses: WNID → gloss; empty if there are none.
        path: where to write.
    """
    style, script = ((_PARTS / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    parts = {
        "generator": GENERATOR,
        "title": html.escape(f"{path.stem}: {len(vocabulary):,} labels"),
        "policy": f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}",
        "style": style,
        "script": script,
        "data": to_script_json(describe(corpus, vocabulary, glosses)),
    }
    template = (_PARTS / "page.html").read_text(encoding="utf-8")
    # In one pass: what is filled in may look like a place to fill in.
    write_atomically(path, re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template))


def _digest(text: str) -> str:
    """What a content security policy calls an inline style or script by: nothing else may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def to_script_json(data: Any) -> str:
    """Return JSON that can stand in a ``<script>`` element: captions may hold ``</script>``, ``<!--`` or U+2028."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def describe(corpus: CorpusCounts, vocabulary: Vocabulary, glosses: Mapping[str, str]) -> dict[str, Any]:
    """Return the page's data: `about`, and a column for each property of R synsets.

    First the labels by index, then the tail of other synsets that captions name, by falling count, then those that only
    lie above one of these. Columns shorter than R have nothing to say of the rest.
    """
    lexicon = load_lexicon()
    counts = corpus.counts
    tail = sorted((wnid for wnid in counts if wnid not in vocabulary), key=lambda wnid: (-counts[wnid], wnid))
    rows = {wnid: row for row, wnid in enumerate([*vocabulary, *tail])}
    for wnid in list(rows):
        for above in path_of(wnid):
            rows.setdefault(above, len(rows))
    paths = [path_of(wnid) for wnid in rows]
    categories = list(CATEGORIES.values())
    rolled = {wnid: rows[into] for wnid, (into, _) in vocabulary.rollup.items()}
    why = _why_pruned(vocabulary)
    return {
        "about": _about(corpus, vocabulary, tail),
        "categories": categories,
        "offsets": [int(wnid[1:]) for wnid in rows],
        "lemmas": ["|".join(lexicon.lemmas(wnid)).replace("_", " ") for wnid in rows],
        "senses": [int(lexicon.name(wnid).rpartition(".")[2]) for wnid in rows],
        "category": [categories.index(lexicon.category(wnid)) for wnid in rows],
        "above": [rows[path[-2]] if len(path) > 1 else -1 for path in paths],
        "counts": [counts.get(wnid, 0) for wnid in rows],
        "totals": vocabulary.counts,
        "tail": [rolled.get(wnid, why(wnid, counts[wnid])) for wnid in tail],
        "captions": [corpus.examples_of(wnid) for wnid in (*vocabulary, *tail)],
        "glosses": [glosses.get(wnid, "") for wnid in rows] if glosses else [],
    }


# Why a synset of the tail is not in the vocabulary, where no label stands for it.
RARE, GENERAL, BEYOND = -1, -2, -3


def _why_pruned(vocabulary: Vocabulary) -> Callable[[str, int], int]:
    how, min_depth, exclude = pruning_of(vocabulary)
    pruner = Pruner({}, MIN_DEPTH[how] if min_depth is None else min_depth, exclude)
    tau = int(vocabulary.metadata["tau"])

    def why(wnid: str, count: int) -> int:
        if pruner.is_too_general(wnid):
            return GENERAL
        return BEYOND if count >= tau and how == "drop" else RARE

    return why


def _about(corpus: CorpusCounts, vocabulary: Vocabulary, tail: list[str]) -> dict[str, Any]:
    own = coverage_of(corpus, vocabulary)
    return {
        **vocabulary.metadata,
        "threshold": own.tau,
        "labels": own.labels,
        "tail": len(tail),
        "covered": round(own.captions, 6),
        "estimated": not corpus.sample.complete,
    }

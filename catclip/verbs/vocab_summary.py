"""What `catclip vocab` says, draws and writes beside a vocabulary."""

from pathlib import Path

from rich.console import Group
from rich.table import Table

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.counter import TAUS
from catclip.captions.lexicon import load_lexicon
from catclip.captions.prune import MIN_DEPTH
from catclip.captions.report.coverage import coverage_of, coverages, pruning_of
from catclip.captions.report.drawing import draw
from catclip.captions.report.glosses import load_glosses
from catclip.captions.report.mark import is_ours
from catclip.captions.report.page import write_page
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import UserError
from catclip.files import writing


def check_beside(out: Path) -> None:
    """Refuse to write over files that are not what an earlier run has drawn there.

    Raises:
        UserError: there is such a file.
    """
    for path in _beside(out):
        with writing(path):
            if path.exists() and not (path.is_file() and is_ours(path)):
                raise UserError(
                    f"{path} is there already and was not made by `catclip vocab`, and {out} gets a file of that name "
                    "beside it. Give another out=…, or move it."
                )


def _beside(out: Path) -> tuple[Path, Path]:
    return out.with_suffix(".png"), out.with_suffix(".html")


def write_report(corpus: CorpusCounts, vocabulary: Vocabulary, out: Path) -> list[Path]:
    """Write the drawings and the page of a vocabulary beside its file, named after it.

    Raises:
        UserError: they cannot be written there.
    """
    picture, page = _beside(out)
    with writing(out.parent):
        draw(corpus, vocabulary, TAUS, picture)
        write_page(corpus, vocabulary, load_glosses(), page)
    return [picture, page]


def summary(corpus: CorpusCounts, vocabulary: Vocabulary) -> Group:
    """Return what the user should know of a corpus and its vocabulary, for a terminal of 80 columns."""
    labels = int(corpus.occurrences.sum())
    lines = [
        f"{corpus.captions:,} captions read; {corpus.labelled / corpus.captions:.2%} have a label, "
        f"{labels / corpus.captions:.1f} labels a caption.",
        f"{len(corpus.counts):,} different synsets.",
    ]
    if corpus.skipped:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in corpus.skipped.most_common())
        lines.append(f"Skipped: {reasons}.")
    others = [(wnid, n) for wnid, n in corpus.counts.most_common() if wnid not in vocabulary]
    return Group(
        *lines,
        "\n[bold]What pruning leaves[/]: labels, captions that have one, nouns that are one",
        _prunings(corpus, vocabulary),
        *([] if corpus.sample.complete else [f"Captions estimated from {len(corpus.sample):,} of them."]),
        "\n[bold]Most frequent labels[/]",
        _most_frequent(vocabulary),
        f"\n[bold]Most frequent of {len(others):,} synsets that are no labels[/]" if others else "",
        _left_out(vocabulary, others),
    )


def _prunings(corpus: CorpusCounts, vocabulary: Vocabulary) -> Table:
    """Both ways of pruning at several thresholds, the vocabulary's own among them."""
    own = coverage_of(corpus, vocabulary)
    how, min_depth, exclude = pruning_of(vocabulary)
    taus = sorted({*TAUS, own.tau})
    rows = [[f"{tau:,}"] for tau in taus]
    for each in MIN_DEPTH:
        for row, at in zip(rows, coverages(corpus, each, taus, min_depth, exclude), strict=True):
            is_own = (each, at.tau) == (how, own.tau)
            at = own if is_own else at
            texts = f"{at.labels:,}", f"{at.captions:.2%}", f"{at.nouns:.1%}"
            row += [f"[bold]{text}[/]" if is_own else text for text in texts]
    table = Table(box=None, pad_edge=False)
    for name in ("tau", *(column for each in MIN_DEPTH for column in (f"{each}: labels", "captions", "nouns"))):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _most_frequent(vocabulary: Vocabulary, rows: int = 10) -> Table:
    table = _table("label", "WNID")
    for name, wnid, number in list(zip(vocabulary.names, vocabulary.wnids, vocabulary.counts, strict=True))[:rows]:
        table.add_row(name, wnid, f"{number:,}")
    return table


def _left_out(vocabulary: Vocabulary, others: list[tuple[str, int]], rows: int = 5) -> Table:
    name = load_lexicon().name
    table = _table("synset", "rolled up into" if vocabulary.rollup else "")
    for wnid, number in others[:rows]:
        into = vocabulary.rollup.get(wnid)
        table.add_row(name(wnid), name(into.into) if into else "", f"{number:,}")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    table.add_column("count", justify="right")
    return table

"""What `catclip data check` says of pictures and captions, for a terminal of 80 columns."""

from collections.abc import Callable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from catclip.data.checking import Checked
from catclip.data.checking.figures import QUANTILES
from catclip.data.checking.spread import Spread


def picture_table(checked: Checked) -> Group:
    """Formats and sizes of the good samples' pictures."""
    pictures = checked.tally.pictures
    good = pictures.size.count
    formats = ", ".join(f"{name} {number / good:.1%}" for name, number in pictures.formats.most_common())
    table = _table()
    _add(table, "width, pixels", pictures.width, _whole)
    _add(table, "height, pixels", pictures.height, _whole)
    _add(table, "area, kilopixels", pictures.area, _thousands)
    _add(table, "file, kB", pictures.size, _thousands)
    return Group(
        Text(f"Pictures: {formats}", "bold"),
        table,
        _smaller(checked),
    )


def _smaller(checked: Checked) -> str:
    pictures = checked.tally.pictures
    if not pictures.small:
        return f"None has a side shorter than {checked.training_size} pixels."
    return (
        f"{pictures.small:,} ({pictures.small / pictures.size.count:.1%}) have a side shorter than "
        f"{checked.training_size} pixels: training enlarges them."
    )


def caption_table(checked: Checked) -> Group:
    """How many and how long the good samples' captions are, and their labels."""
    captions = checked.tally.captions
    number = captions.words.count
    table = _table()
    _add(table, "captions a sample", captions.per_sample, _whole)
    _add(table, "words a caption", captions.words, _whole)
    lines = [f"{captions.repeats.share:.1%} are repeats of another caption."]
    if checked.vocabulary:
        _add(table, "labels a caption", captions.labels, _whole)
        lines.append(
            f"{1 - captions.labels.number_of(0) / number:.1%} have a label; "
            f"{len(captions.seen):,} of the vocabulary's {len(checked.vocabulary):,} labels are seen."
        )
    return Group(Text(f"Captions: {number:,} under {checked.pairs.caption_key}", "bold"), table, " ".join(lines))


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("", width=17)
    for name in ("least", *(f"{share:.0%}" for share in QUANTILES.values()), "most", "mean"):
        table.add_column(name, justify="right", min_width=5, no_wrap=True)
    return table


def _add(table: Table, name: str, spread: Spread, show: Callable[[float], str]) -> None:
    quantiles = (spread.quantile(share) for share in QUANTILES.values())
    mean = f"{spread.mean:,.1f}" if show is _whole else show(spread.mean)
    table.add_row(name, *map(show, (spread.least, *quantiles, spread.most)), mean)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _thousands(value: float) -> str:
    return f"{value / 1e3:,.1f}" if value < 1e5 else f"{value / 1e3:,.0f}"

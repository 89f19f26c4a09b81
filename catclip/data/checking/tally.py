"""`Tally`: what was found in some samples; tallies of processes add up."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from catclip.data.checking.spread import Repeats, Spread


class Bad(NamedTuple):
    """A sample that training skips.

    Attributes:
        shard, row: where it lies.
        key: its key.
        reason: as training counts it.
        detail: what the decoder said; empty where the reason says all.
    """

    shard: int
    row: int
    key: str
    reason: str
    detail: str


@dataclass
class Pictures:
    """Of the good samples.

    Attributes:
        formats: JPEG, PNG … → pictures.
        width, height, area: pixels, of the upright picture.
        size: bytes of its file.
        small: pictures whose shorter side is shorter than training pictures are.
    """

    formats: Counter[str] = field(default_factory=Counter)
    width: Spread = field(default_factory=Spread)
    height: Spread = field(default_factory=Spread)
    area: Spread = field(default_factory=Spread)
    size: Spread = field(default_factory=Spread)
    small: int = 0

    def update(self, other: "Pictures") -> None:
        self.formats.update(other.formats)
        self.width.update(other.width)
        self.height.update(other.height)
        self.area.update(other.area)
        self.size.update(other.size)
        self.small += other.small


@dataclass
class Captions:
    """Of the good samples: all of their captions, whichever training selects.

    Attributes:
        per_sample: how many a sample has.
        words: of a caption.
        repeats: captions that are those of other samples, letter for letter.
        labels: of a caption; empty without a vocabulary.
        seen: label → captions.
    """

    per_sample: Spread = field(default_factory=Spread)
    words: Spread = field(default_factory=Spread)
    repeats: Repeats = field(default_factory=Repeats)
    labels: Spread = field(default_factory=Spread)
    seen: Counter[int] = field(default_factory=Counter)

    def update(self, other: "Captions") -> None:
        self.per_sample.update(other.per_sample)
        self.words.update(other.words)
        self.repeats.update(other.repeats)
        self.labels.update(other.labels)
        self.seen.update(other.seen)


@dataclass
class Tally:
    """Of good and bad samples.

    Attributes:
        samples: of both.
        bad: those that training skips.
        seconds: that a process spent on them.
    """

    samples: int = 0
    bad: list[Bad] = field(default_factory=list)
    pictures: Pictures = field(default_factory=Pictures)
    captions: Captions = field(default_factory=Captions)
    seconds: float = 0.0

    def update(self, other: "Tally") -> None:
        self.samples += other.samples
        self.bad += other.bad
        self.pictures.update(other.pictures)
        self.captions.update(other.captions)
        self.seconds += other.seconds

    @property
    def reasons(self) -> Counter[str]:
        """Reason → bad samples."""
        return Counter(bad.reason for bad in self.bad)

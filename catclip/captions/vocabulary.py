"""`Vocabulary`: the labels of a data set, and their indices."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from catclip.captions import corenet, vocabulary_file
from catclip.captions.extract import SynsetExtractor
from catclip.captions.hierarchy import find_synset, path
from catclip.captions.lexicon import lexicon_version, load_lexicon
from catclip.captions.prune import MIN_DEPTH, Pruner, Rolled, check_options
from catclip.errors import UserError


class Vocabulary:
    """WordNet synsets by falling count; a synset's index is its place. CatLIP's V_τ (arXiv 2404.15653).

    Attributes:
        wnids: the synsets, zero-padded as ImageNet's (``n02084071``).
        names: their WordNet names (``dog.n.01``).
        counts: how often each occurs in the corpus, repeats within a caption included; with what is rolled up into it.
        metadata: how it was made: tau, captions (their number), rule, tagger, sense, lexicon, created_from; where they
            say more data.caption_key, data.captions, prune, top_k, min_depth and exclude. All values are text.
        rollup: synsets too rare to be labels, which count and are learned as a label above them.
    """

    def __init__(
        self,
        wnids: Iterable[str],
        names: Iterable[str],
        counts: Iterable[int],
        metadata: Mapping[str, str],
        rollup: Mapping[str, Rolled] | None = None,
    ) -> None:
        self.wnids = list(wnids)
        self.names = list(names)
        self.counts = list(counts)
        self.metadata = dict(metadata)
        self.rollup = dict(rollup or {})
        assert len(self.wnids) == len(self.names) == len(self.counts)
        self._index = {wnid: index for index, wnid in enumerate(self.wnids)}
        self._labels = self._index | {wnid: self._index[rolled.into] for wnid, rolled in self.rollup.items()}
        self._extractor: SynsetExtractor | None = None

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], metadata: Mapping[str, str], rollup: Mapping[str, Rolled] | None = None
    ) -> "Vocabulary":
        """Order the synsets of `counts` by falling count, ties by WNID. KeyError for what is no synset."""
        order = sorted(counts, key=lambda wnid: (-counts[wnid], wnid))
        return cls(order, map(load_lexicon().name, order), (counts[wnid] for wnid in order), metadata, rollup)

    def __len__(self) -> int:
        return len(self.wnids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.wnids)

    def __contains__(self, wnid: object) -> bool:
        return wnid in self._index

    def __repr__(self) -> str:
        made = "".join(f", {key}={self.metadata[key]}" for key in ("tau", "rule", "prune") if key in self.metadata)
        return f"<Vocabulary of {len(self):,} labels{made}>"

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_extractor": None}

    # ---- labels -------------------------------------------------------------------------------------------------

    def index(self, wnid: str) -> int:
        """Return a synset's index; KeyError when it is no label, not even when it is rolled up into one."""
        return self._index[wnid]

    def labels(self, caption_or_wnids: str | Iterable[str]) -> list[int]:
        """Return the indices of a caption's labels, sorted, each once. A rolled-up synset gives the label it went into.

        A caption is extracted as the captions of the vocabulary's corpus were.

        Raises:
            UserError: a caption is given, but the metadata do not say how captions are extracted.
        """
        wnids = self.extractor(caption_or_wnids) if isinstance(caption_or_wnids, str) else caption_or_wnids
        return sorted({self._labels[wnid] for wnid in wnids if wnid in self._labels})

    def lookup(self, synsets: Sequence[str]) -> np.ndarray:
        """Return int32 [S]: the label of each synset, -1 for none. It turns the ids of `label_column` into labels."""
        return np.fromiter((self._labels.get(wnid, -1) for wnid in synsets), np.int32, len(synsets))

    @property
    def digest(self) -> str:
        """32 hexadecimal digits, the same for vocabularies that turn the same synsets into the same indices."""
        content = [self.wnids, sorted((wnid, rolled.into) for wnid, rolled in self.rollup.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    @property
    def reading(self) -> tuple[str, str, str]:
        """Rule, tagger and sense by which captions are read; UserError when the metadata do not say."""
        missing = [key for key in ("rule", "tagger", "sense") if key not in self.metadata]
        if missing:
            raise UserError(f"The vocabulary does not say how its captions were read: no {', '.join(missing)}.")
        return self.metadata["rule"], self.metadata["tagger"], self.metadata["sense"]

    @property
    def extractor(self) -> SynsetExtractor:
        """The extractor that the metadata name, made when first asked for."""
        if self._extractor is None:
            self._extractor = SynsetExtractor(*self.reading)
        return self._extractor

    # ---- prune and merge ----------------------------------------------------------------------------------------

    @property
    def own_counts(self) -> dict[str, int]:
        """Synset → how often it occurs itself, rolled-up ones included: the counts before the roll-up."""
        own = Counter(dict(zip(self.wnids, self.counts, strict=True)))
        for wnid, (into, count) in self.rollup.items():
            own[into] -= count
            own[wnid] = count
        return {wnid: count for wnid, count in own.items() if count}

    def prune(
        self,
        tau: int = 1,
        *,
        how: str = "drop",
        top_k: int | None = None,
        min_depth: int | None = None,
        exclude: Iterable[str] = (),
    ) -> "Vocabulary":
        """Return the vocabulary of the frequent synsets; the rest vanishes, or is rolled up into them.

        To drop from a vocabulary that is rolled up drops labels, with what is rolled up into them; to roll up starts
        anew from `own_counts`.

        Args:
            tau: the least count of a label.
            how: ``drop`` (as published) or ``rollup``: see `Pruner.drop` and `Pruner.rollup`.
            top_k: the most labels.
            min_depth: synsets fewer steps below entity.n.01 are no labels; None for `MIN_DEPTH`.
            exclude: WNIDs or names (``thing.n.12``) of other synsets that are no labels.

        Raises:
            UserError: an option makes no sense, or nothing is left; the message says what would leave something.
        """
        exclude = tuple(exclude)
        check_options(how, tau, top_k, min_depth, exclude)
        depth = MIN_DEPTH[how] if min_depth is None else min_depth
        if how == "drop":
            pruner = Pruner(dict(zip(self.wnids, self.counts, strict=True)), depth, exclude)
            pruned = pruner.drop(tau, top_k)
            pruned.rollup.update({wnid: to for wnid, to in self.rollup.items() if to.into in pruned.counts})
        else:
            pruner = Pruner(self.own_counts, depth, exclude)
            pruned = pruner.rollup(tau, top_k)
        if not pruned.counts:
            raise UserError(_why_empty(pruner, how, tau, self.metadata.get("captions")))
        options = {"tau": tau, "prune": how, "top_k": top_k, "min_depth": min_depth, "exclude": " ".join(exclude)}
        said = {key: str(value) for key, value in options.items() if value not in (None, "", "drop")}
        names = map(load_lexicon().name, pruned.counts)
        return Vocabulary(pruned.counts, names, pruned.counts.values(), self.metadata | said, pruned.rollup)

    def merge(self, other: "Vocabulary") -> "Vocabulary":
        """Return the vocabulary of both corpora: the labels of either, their counts added. What was dropped stays lost.

        A synset that one has rolled up and the other keeps is a label. Other differences of their metadata stand side
        by side, but `tau` is the smaller one and `captions` the sum.

        Raises:
            UserError: their captions were not read in the same way, so that their labels do not mean the same.
        """
        for key in ("rule", "tagger", "sense", "lexicon"):
            if self.metadata.get(key) != other.metadata.get(key):
                raise UserError(
                    f"Vocabularies merge when their captions were read in the same way: one has "
                    f"{key}={self.metadata.get(key)}, the other {key}={other.metadata.get(key)}. Build both anew."
                )
        own = Counter(self.own_counts)
        own.update(other.own_counts)
        labels = self._index.keys() | other._index.keys()
        # What is rolled up in one has a label above, here too.
        into = {wnid: next(up for up in reversed(path(wnid)) if up in labels) for wnid in own if wnid not in labels}
        counts = Counter({wnid: own[wnid] for wnid in labels})
        for wnid, label in into.items():
            counts[label] += own[wnid]
        rollup = {wnid: Rolled(label, own[wnid]) for wnid, label in into.items()}
        return Vocabulary.from_counts(counts, _merge_metadata(self.metadata, other.metadata), rollup)

    # ---- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the TSV file, atomically; the same vocabulary always gives the same bytes. See `vocabulary_file`."""
        vocabulary_file.write(
            path, vocabulary_file.Content(self.wnids, self.names, self.counts, self.metadata, self.rollup)
        )

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary file.

        Raises:
            UserError: there is none, or it is malformed; the message names file and line.
        """
        return cls(*vocabulary_file.read(path))

    @classmethod
    def from_corenet_pickle(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary that CoreNet (CatLIP's public code) pickled; indices stay. Nothing in the file is run.

        Raises:
            UserError: it cannot be read, holds anything but synsets and their falling counts, or a synset that is none
                of WordNet 3.0's nouns.
        """
        counts = corenet.read_pickle(path)
        for wnid in counts:
            find_synset(wnid)
        metadata = {
            "tau": str(min(counts.values())),
            "rule": "reference",
            "tagger": "none",
            "sense": "first",
            "lexicon": lexicon_version(),
            "created_from": Path(path).name,
        }
        return cls(counts, map(load_lexicon().name, counts), counts.values(), metadata)

    def to_corenet_pickle(self, path: str | Path) -> None:
        """Write the vocabulary as CoreNet reads it: a pickled dict {pos + offset: count} in the order of the indices.

        Raises:
            UserError: it is rolled up, which CoreNet's files cannot say.
        """
        if self.rollup:
            raise UserError("CoreNet's vocabularies hold no roll-up: export one that was made with prune=drop.")
        corenet.write_pickle(path, dict(zip(self.wnids, self.counts, strict=True)))


def _why_empty(pruner: Pruner, how: str, tau: int, captions: str | None) -> str:
    if not pruner.counts:
        return "min_depth and exclude leave no labels. Give a smaller min_depth, or exclude fewer."
    of = f" in {int(captions):,} captions" if captions else ""
    if how == "drop":
        most = max(pruner.counts.values())
        why = f"the most frequent one occurs {most:,} times{of}"
    else:
        most = pruner.most_rolled_up()
        why = f"all that is rolled up into one occurs {most:,} times{of} at the most"
    return f"tau={tau} leaves no labels: {why}. The largest tau that leaves any is {most}."


def _merge_metadata(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    merged = dict(one)
    for key, value in other.items():
        if merged.setdefault(key, value) == value and key != "captions":
            continue
        if key == "captions" and key in one:
            merged[key] = str(int(one[key]) + int(value))
        elif key == "tau":
            merged[key] = str(min(int(one[key]), int(value)))
        elif key in one:
            merged[key] = f"{one[key]} + {value}"
    return merged

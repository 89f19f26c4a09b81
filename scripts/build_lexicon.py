#!/usr/bin/env python
"""Build the noun lexicon that catclip ships (`vocab/lexicon.txt.xz`) from any WordNet 3.0 folder or wordnet.zip.

    python scripts/build_lexicon.py /usr/share/wordnet
    python scripts/build_lexicon.py wordnet.zip --out lexicon.txt.xz

The result is xz-compressed text: a comment header that explains it, then one section after another. It holds no glosses
and no clock time, so the same WordNet gives the same bytes.
"""

import argparse
import lzma
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

POS_OF_TYPE = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}  # 5: satellite adjective
POS = ("noun", "verb", "adj", "adv")
HYPERNYMS = {"@": "", "@i": "="}  # pointer symbol → mark in the table

HEADER = """\
# catclip noun lexicon. Columns are separated by one tab, items in a column by one space.
# Derived from WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved. Its licence: see NOTICE.
# Made by scripts/build_lexicon.py; no glosses.
# format=1
# source=WordNet 3.0
# nouns={nouns} synsets={synsets} other_words={others}
# [synsets]    offset, lexicographer file number, hypernyms as offsets (=: is an instance of), lemmas, head first
# [nouns]      lemma, synsets in sense order as offset or offset:count; unless it is only a noun: verb, adj, adv counts
# [others]     single words that are no nouns, with verb, adj, adv counts
# [*_exc]      irregular forms: form, base forms; a later line for the same form replaces an earlier one
# A verb/adj/adv column is empty when the word has no such entry, 0 when it has one that was never counted.
"""

Reader = Callable[[str], Iterator[str]]


def open_wordnet(folder: Path) -> Reader:
    """Return a function that yields the lines of a WordNet file by its name, from a folder or a zip."""
    if folder.is_dir():

        def read_file(name: str) -> Iterator[str]:
            yield from (folder / name).read_text(encoding="ascii").splitlines()

        return read_file
    if not zipfile.is_zipfile(folder):
        sys.exit(f"{folder} is neither a WordNet folder nor a zip of one.")
    members = {Path(name).name: name for name in zipfile.ZipFile(folder).namelist()}

    def read_member(name: str) -> Iterator[str]:
        if name not in members:
            raise FileNotFoundError(f"{name} in {folder}")
        with zipfile.ZipFile(folder) as archive:
            yield from archive.read(members[name]).decode("ascii").splitlines()

    return read_member


def read_counts(read: Reader) -> tuple[dict[str, dict[str, int]], dict[tuple[str, str], int]]:
    """Return the summed counts, word → part of speech → count, and those of noun senses, (word, offset) → count.

    Every word of WordNet stands in index.sense, so a missing part of speech means that WordNet has no such entry.
    """
    words: dict[str, dict[str, int]] = defaultdict(dict)
    senses: dict[tuple[str, str], int] = {}
    for line in read("index.sense"):
        key, offset, _number, count = line.split()
        lemma, _, rest = key.rpartition("%")
        pos = POS_OF_TYPE[rest[0]]
        words[lemma][pos] = words[lemma].get(pos, 0) + int(count)
        if pos == "noun":
            senses[lemma, offset] = int(count)
    return words, senses


def read_index(read: Reader) -> dict[str, list[str]]:
    """Return noun lemma → synset offsets in sense order."""
    nouns = {}
    for line in read("index.noun"):
        if line.startswith(" "):  # the licence at the head of the file
            continue
        fields = line.split()
        nouns[fields[0]] = fields[-int(fields[2]) :]
    return nouns


def synset_lines(read: Reader) -> Iterator[str]:
    for line in read("data.noun"):
        if line.startswith(" "):
            continue
        fields = line.split(" | ", 1)[0].split()
        n_lemmas = int(fields[3], 16)
        lemmas = fields[4 : 4 + 2 * n_lemmas : 2]
        pointers = fields[5 + 2 * n_lemmas :]
        hypernyms = [
            f"{HYPERNYMS[symbol]}{target}"
            for symbol, target in zip(pointers[::4], pointers[1::4], strict=False)
            if symbol in HYPERNYMS
        ]
        yield "\t".join((fields[0], str(int(fields[1])), " ".join(hypernyms), " ".join(lemmas)))


def word_line(word: str, senses: list[str], counts: dict[str, int]) -> str:
    rest = [str(counts.get(pos, "")) for pos in POS[1:]]
    return "\t".join([word, *([" ".join(senses)] if senses else []), *(rest if any(rest) else [])])


def build(read: Reader) -> str:
    """Return the table's whole text."""
    counts, sense_counts = read_counts(read)
    index = read_index(read)
    synsets = list(synset_lines(read))
    nouns = []
    for word in sorted(index):
        with_counts = [(offset, sense_counts[word, offset]) for offset in index[word]]
        nouns.append(word_line(word, [f"{o}:{c}" if c else o for o, c in with_counts], counts[word]))
    others = [word_line(w, [], counts[w]) for w in sorted(counts) if w not in index and "_" not in w]
    sections = {"synsets": synsets, "nouns": nouns, "others": others}
    for pos in POS:
        sections[f"{pos}_exc"] = ["\t".join(line.split()) for line in read(f"{pos}.exc")]
    header = HEADER.format(nouns=len(nouns), synsets=len(synsets), others=len(others))
    return header + "".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a WordNet 3.0 folder (index.noun, data.noun, index.sense, *.exc)")
    default = Path(__file__).resolve().parent.parent / "vocab" / "lexicon.txt.xz"
    parser.add_argument("--out", type=Path, default=default, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        text = build(open_wordnet(arguments.folder))
    except FileNotFoundError as error:
        sys.exit(f"Not a complete WordNet 3.0: {error}")
    packed = lzma.compress(text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME)
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(packed):,} bytes, {len(text):,} unpacked")


if __name__ == "__main__":
    main()

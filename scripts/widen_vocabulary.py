"""A vocabulary with so many labels, for measuring steps: one of few, and synsets that no caption has.

widen_vocabulary.py VOCABULARY.tsv LABELS OUT.tsv
"""

import sys
from itertools import islice

from catclip.captions import Vocabulary
from catclip.captions.lexicon import load_lexicon


def main() -> None:
    vocabulary, labels = Vocabulary.load(sys.argv[1]), int(sys.argv[2])
    others = (wnid for wnid in load_lexicon().wnids() if wnid not in vocabulary)
    counts = dict(zip(vocabulary.wnids, vocabulary.counts, strict=True))
    counts |= dict.fromkeys(islice(others, labels - len(vocabulary)), 0)
    Vocabulary.from_counts(counts, vocabulary.metadata | {"widened_from": str(len(vocabulary))}).save(sys.argv[3])


if __name__ == "__main__":
    main()

"""WordNet's glosses, where NLTK has WordNet 3.0. They are not shipped, and nothing needs them."""

from collections.abc import Iterable


def load_glosses() -> dict[str, str]:
    """Return WNID → gloss for all noun synsets, from where NLTK looks for data; empty without WordNet 3.0 there."""
    import nltk.data  # takes a second, and few need it

    for place in ("corpora/wordnet/data.noun", "corpora/wordnet.zip/wordnet/data.noun"):
        try:
            pointer = nltk.data.find(place)
        except LookupError:
            continue
        with pointer.open() as file:
            return read_glosses(line.decode("utf-8", "replace") for line in file)
    return {}


def read_glosses(lines: Iterable[str]) -> dict[str, str]:
    """Return the glosses of WordNet's data.noun (wndb(5WN)): its licence, then a line a synset, from offset to gloss.

    Empty for other versions than 3.0, where offsets mean other synsets.
    """
    glosses = {}
    for line in lines:
        if line.startswith("  "):
            if "Copyright" in line and "WordNet" in line and "WordNet 3.0" not in line:
                return {}
        else:
            data, _, gloss = line.partition(" | ")
            glosses[f"n{data[:8]}"] = " ".join(gloss.split())
    return glosses

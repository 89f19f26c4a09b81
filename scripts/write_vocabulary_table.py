"""Count Flickr8k's captions again and renew the table of vocabularies: write_vocabulary_table.py RESULTS.md DATA"""

import re
import sys
from pathlib import Path

from catclip.captions import SynsetExtractor
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.environment import environment

TAUS = (5, 10, 20, 50)


def vocabulary_table(data: str) -> str:
    """Size and coverage at each tau, counted now; DATA holds flickr8k/train-*.tar."""
    sources = f"{data}/flickr8k/train-{{00000..00005}}.tar"
    extractor = SynsetExtractor()
    corpus = count_files(sources, extractor, caption_key="json.captions", captions="all")
    rows = [
        f"| {tau} | {len(make_vocabulary(corpus, extractor, tau, sources)):,} | {corpus.coverage(tau):.1%} |"
        for tau in TAUS
    ]
    commit = environment()["commit"] or "unknown"
    return "\n".join(
        ["| tau | labels | captions with a label |", "|---|---|---|", *rows, "", f"Counted at commit {commit[:9]}."]
    )


def main() -> None:
    page, data = Path(sys.argv[1]), sys.argv[2].rstrip("/")
    table = re.compile(r"\| tau \|.*?\n\n(Counted at commit \w+\.)?", re.DOTALL)
    renewed, found = table.subn(lambda _: vocabulary_table(data), page.read_text())
    assert found == 1, f"{page} has no table of vocabularies"
    page.write_text(renewed)


if __name__ == "__main__":
    main()

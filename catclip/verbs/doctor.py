"""`catclip doctor`: what is installed here, and what works."""

from rich.console import Console
from rich.table import Table

from catclip.captions import SynsetExtractor
from catclip.captions.lexicon import load_lexicon
from catclip.config import DoctorConfig
from catclip.environment import environment
from catclip.errors import UserError
from catclip.paths import CONF, VOCAB


def run(config: DoctorConfig) -> None:
    """Print versions, devices, taggers and the shipped files."""
    here = environment()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in here["versions"].items()))
    threads = f"{here['torch_threads']} torch threads" if here["torch_threads"] else "no torch"
    table.add_row("cpu", f"{here['cpu']}, {here['cores']} cores, {threads}")
    table.add_row("gpu", here["gpu"] or "none that torch can use")
    for tagger in ("lexicon", "nltk", "spacy", "none"):
        table.add_row(f"tagger {tagger}", _try_tagger(tagger))
    table.add_row("configuration", str(CONF))
    table.add_row("shipped tables", f"{VOCAB} ({_try_lexicon()})")
    Console(highlight=False).print(table)


def _try_tagger(tagger: str) -> str:
    try:
        SynsetExtractor(tagger=tagger)
    except UserError as error:
        return f"[yellow]{error}"
    return "[green]works"


def _try_lexicon() -> str:
    try:
        load_lexicon()
    except UserError as error:
        return f"[red]{error}"
    return "noun lexicon found"

"""Text → labels, without torch: `SynsetExtractor` and `Vocabulary`."""

from catclip.captions.extract import SynsetExtractor
from catclip.captions.vocabulary import Vocabulary

__all__ = ["SynsetExtractor", "Vocabulary"]

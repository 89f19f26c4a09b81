"""What a data set's shards hold: every picture decoded, every caption read, and what is wrong with them counted."""

from catclip.data.checking.checker import Checked, check, index_shards, spread_samples
from catclip.data.checking.figures import bad_lines, figures

__all__ = ["Checked", "bad_lines", "check", "figures", "index_shards", "spread_samples"]

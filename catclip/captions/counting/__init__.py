"""Corpora → how often each synset occurs: in parts, by many processes, with a journal that survives a kill."""

from catclip.captions.counting.counter import count, count_files, make_vocabulary

__all__ = ["count", "count_files", "make_vocabulary"]

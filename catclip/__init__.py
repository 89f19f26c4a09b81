"""catclip: categorical (CatLIP) and contrastive (CLIP) pretraining of vision transformers, on one trainer."""

__version__ = "0.1.0"

"""Contact sheets: pictures in a grid, each with its key, captions and labels."""

from catclip.data.sheet.grid import Tile, contact_sheet, fitted, save

__all__ = ["Tile", "contact_sheet", "fitted", "save"]

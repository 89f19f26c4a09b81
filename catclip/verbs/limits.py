"""Values that cannot be used, said before the work and not after it."""

from pathlib import Path

from catclip.errors import UserError


def check_at_least(limits: dict[str, tuple[int | None, int]]) -> None:
    """Raise `UserError` for the first key whose value is below its limit; None is none.

    Args:
        limits: key → (value, limit).
    """
    for key, (value, least) in limits.items():
        if value is not None and value < least:
            raise UserError(f"{key}={value} must be at least {least}.")


def check_file(out: str | None) -> None:
    """Raise `UserError` where `out`, a file that is written in the end, is a folder."""
    if out is not None and Path(out).is_dir():
        raise UserError(f"out={out} is a folder: give the name of a file.")

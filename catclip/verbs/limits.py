"""Numbers that must not be too small."""

from catclip.errors import UserError


def check_at_least(limits: dict[str, tuple[int | None, int]]) -> None:
    """Raise `UserError` for the first key whose value is below its limit; None is none.

    Args:
        limits: key → (value, limit).
    """
    for key, (value, least) in limits.items():
        if value is not None and value < least:
            raise UserError(f"{key}={value} must be at least {least}.")

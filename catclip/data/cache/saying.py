"""Lines for who watches a run."""

import sys


def say(message: str) -> None:
    # No logger: what sets up logging for a run silences those that were there before.
    print(f"catclip: {message}", file=sys.stderr, flush=True)


def sentence(error: Exception) -> str:
    """Return what an error says, with a full stop, so that more can be said."""
    return f"{str(error).rstrip('.')}."

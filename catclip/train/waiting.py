"""What to change when training waits for its data: said once, when it has been so for a while."""

from collections.abc import Mapping

SHARE = 0.2  # of the time spent waiting, above which something should be changed
PATIENCE = 60.0  # seconds for which it must be so

_ADVICE = {
    "reading": "Reading the shards takes most of it: copy them to a local disk, or let data.cache hold them",
    "pictures": "Decoding pictures takes most of it: pack them smaller (`catclip data pack size=…`)",
    "captions": "Captions take most of it: store their labels once (`catclip label`, data.labels=beside)",
}


class WaitingHint:
    """Watches the share of time that steps wait for data.

    Args:
        workers: processes that make batches.
        cores: that there are here.
    """

    def __init__(self, workers: int, cores: int) -> None:
        self._workers, self._cores = workers, cores
        self._seconds = 0.0  # in which too much of it was waited
        self._said = False

    def watch(self, seconds: float, waited: float, spent: Mapping[str, float]) -> str | None:
        """Take in a stretch of training, and return the hint when it is due, once.

        Args:
            seconds: of training, `waited` of which went by waiting for data.
            spent: seconds that the loader's workers have spent so far, on what.
        """
        self._seconds = self._seconds + seconds if waited > SHARE * seconds else 0.0
        if self._said or self._seconds < PATIENCE:
            return None
        self._said = True
        parts = [f"{waited / seconds:.0%} of the time goes by waiting for data."]
        if self._workers < self._cores:
            parts.append(f"Give more processes: data.workers={self._cores} (now {self._workers}).")
        if spent:
            most = max(spent, key=lambda name: spent[name])
            parts.append(f"{_ADVICE[most]} ({spent[most] / sum(spent.values()):.0%} of the workers' time).")
        return " ".join(parts)

"""What a check found, as flat figures with their units in their names, and the list of bad samples."""

from typing import Any

from catclip.data.checking.checker import Checked
from catclip.data.checking.spread import Spread

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def figures(checked: Checked) -> dict[str, Any]:
    """Return what goes to check.json.

    Shares are of 1. `members.<extension>` are samples that have such a member, `bad_samples.<reason>` samples,
    `damaged_shards.<path>` is what is wrong with it, and of a spread there are `_min`, `_p05` … `_p95`, `_max` and
    `_mean`. Pictures and captions are those of good samples.
    """
    shards, tally = checked.pairs.shards, checked.tally
    return {
        "shards": len(shards),
        "shard_bytes": checked.size,
        "damaged_shards": len(shards.problems),
        **{f"damaged_shards.{path}": problem for path, problem in shards.problems.items()},
        "samples": tally.samples,
        "good_samples": tally.samples - len(tally.bad),
        "bad_samples": len(tally.bad),
        "bad_samples_share": len(tally.bad) / tally.samples,
        **{f"bad_samples.{reason}": number for reason, number in tally.reasons.most_common()},
        **{f"members.{extension}": number for extension, number in shards.extensions().most_common()},
        **_pictures(checked),
        **_captions(checked),
        "processes": checked.processes,
        "seconds": checked.seconds,
        "samples_per_second": tally.samples / checked.seconds,
        "samples_per_process_second": tally.samples / max(1e-9, tally.seconds),
    }


def bad_lines(checked: Checked) -> str:
    """Return what goes to bad.tsv: of each bad sample shard, key, reason and what more is known, in their order."""
    rows = [("shard", "key", "reason", "detail")]
    rows += [(checked.pairs.shards.paths[bad.shard], bad.key, bad.reason, bad.detail) for bad in checked.tally.bad]
    return "".join("\t".join(map(_one_line, row)) + "\n" for row in rows)


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _pictures(checked: Checked) -> dict[str, Any]:
    pictures = checked.tally.pictures
    good = max(1, pictures.size.count)
    return {
        **{f"pictures.{name}": number for name, number in pictures.formats.most_common()},
        **_spread("picture_width_pixels", pictures.width),
        **_spread("picture_height_pixels", pictures.height),
        **_spread("picture_area_pixels", pictures.area),
        **_spread("picture_size_bytes", pictures.size),
        "training_size_pixels": checked.training_size,
        "small_pictures": pictures.small,
        "small_pictures_share": pictures.small / good,
    }


def _captions(checked: Checked) -> dict[str, Any]:
    captions = checked.tally.captions
    found: dict[str, Any] = {
        "caption_key": checked.pairs.caption_key,
        "captions": captions.words.count,
        **_spread("captions_per_sample", captions.per_sample),
        **_spread("caption_words", captions.words),
        "repeated_captions_share": captions.repeats.share,
    }
    if checked.vocabulary:
        found |= {
            **_spread("labels_per_caption", captions.labels),
            "labelled_captions_share": 1 - captions.labels.number_of(0) / max(1, captions.labels.count),
            "vocabulary_labels": len(checked.vocabulary),
            "vocabulary_labels_seen": len(captions.seen),
        }
    return found


def _spread(name: str, spread: Spread) -> dict[str, float]:
    return {
        f"{name}_min": spread.least,
        **{f"{name}_{quantile}": spread.quantile(share) for quantile, share in QUANTILES.items()},
        f"{name}_max": spread.most,
        f"{name}_mean": spread.mean,
    }

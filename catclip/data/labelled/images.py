"""`LabelledImages`: pictures with the classes they show, whatever the source; and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from catclip.data.images import BadImageError, held_out_picture
from catclip.data.labelled.pictures import Pictures
from catclip.data.workers import begin_worker, made_by_workers
from catclip.errors import UserError

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """P pictures and the classes they show. Picture i is the same whenever a source is opened.

    Attributes:
        source: where they are from, for messages.
        pictures: their names and bytes.
        classes: C names, in the order of their indices.
        multilabel: a picture may show any number of classes; otherwise each shows one.
        label_ids: int64 [N], the classes of the pictures laid end to end, rising for each.
        label_offsets: int64 [P + 1]; picture i shows `label_ids[label_offsets[i] : label_offsets[i + 1]]`.
    """

    source: str
    pictures: Pictures
    classes: list[str]
    multilabel: bool
    label_ids: np.ndarray
    label_offsets: np.ndarray

    @classmethod
    def of_one_class(
        cls, source: str, pictures: Pictures, classes: Sequence[str], class_ids: np.ndarray
    ) -> "LabelledImages":
        """Pictures that show one class each, `class_ids` int64 [P]."""
        return cls(source, pictures, list(classes), False, class_ids, np.arange(len(class_ids) + 1))

    @classmethod
    def of_any_classes(
        cls, source: str, pictures: Pictures, classes: Sequence[str], owners: np.ndarray, label_ids: np.ndarray
    ) -> "LabelledImages":
        """Pictures that show any number of classes.

        Args:
            source, pictures, classes: as the attributes.
            owners: int64 [N], the number of a picture for each label, in any order; repeats count once.
            label_ids: int64 [N].
        """
        count = max(1, len(classes))
        # A number for each pair of picture and label: sorted and made unique in one go.
        pairs = np.unique(owners * count + label_ids)
        offsets = np.searchsorted(pairs, np.arange(len(pictures) + 1) * count)
        return cls(source, pictures, list(classes), True, pairs % count, offsets)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> tuple[bytes, int | list[int]]:
        """The bytes of a picture as they are stored, and its class, or with `multilabel` its classes.

        Raises:
            IndexError: there are fewer pictures.
            UserError: the picture cannot be read (names it).
        """
        label = self.label(number)
        return self.pictures.read(number), label

    def label(self, number: int) -> int | list[int]:
        """The class of a picture, or with `multilabel` its classes, rising.

        Raises:
            IndexError: there are fewer pictures.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        labels: list[int] = self.label_ids[self.label_offsets[number] : self.label_offsets[number + 1]].tolist()
        return labels if self.multilabel else labels[0]

    def counts(self) -> np.ndarray:
        """How many pictures show each class, int64 [C]."""
        return np.bincount(self.label_ids, minlength=len(self.classes))

    def multi_hot(self) -> np.ndarray:
        """Which classes each picture shows, bool [P, C]."""
        shown = np.zeros((len(self), len(self.classes)), bool)
        shown[np.repeat(np.arange(len(self)), np.diff(self.label_offsets)), self.label_ids] = True
        return shown

    def batches(
        self, size: int, batch: int = 256, workers: int = 0, *, skip_unreadable: bool = False
    ) -> Iterator[Batch]:
        """All pictures in order, resized and centre-cropped, without augmentation.

        Args:
            size: of the pictures, in pixels.
            batch: pictures in each but the last.
            workers: processes that read them; 0: this one.
            skip_unreadable: leave out what cannot be read or decoded.

        Yields:
            `images` uint8 [B, 3, size, size]; with them `class_ids` int64 [B], or with `multilabel` `label_ids`
            int64 [N] and `label_offsets` int64 [B + 1], as the loader has them.

        Raises:
            UserError: a picture cannot be read or decoded (names it), unless these are left out.
        """
        batches = _Batches(self, size, batch, skip_unreadable)
        workers = min(workers, len(batches))
        loader: DataLoader[Any] = DataLoader(
            batches,
            batch_size=None,
            sampler=range(len(batches)),
            num_workers=workers,
            collate_fn=_as_is,  # type: ignore[arg-type]
            worker_init_fn=begin_worker,
        )
        for made in made_by_workers(loader):
            if isinstance(made, UserError):
                raise made
            yield made


class _Batches(Dataset):
    """Batch t of one pass, or why it cannot be made: raised in a worker, an error would bring its traceback along."""

    def __init__(self, images: LabelledImages, size: int, batch: int, skip_unreadable: bool):
        self.images, self.size, self.batch, self.skip_unreadable = images, size, batch, skip_unreadable

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    def __getitem__(self, t: int) -> Batch | UserError:
        pictures, labels = [torch.empty(0, 3, self.size, self.size, dtype=torch.uint8)], []
        for number in range(t * self.batch, min((t + 1) * self.batch, len(self.images))):
            try:
                pictures.append(self._picture(number)[None])
            except UserError as error:
                if not self.skip_unreadable:
                    return error
                continue
            labels.append(np.atleast_1d(self.images.label(number)).astype(np.int64))
        ids = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *labels]))
        if not self.images.multilabel:
            return {"images": torch.cat(pictures), "class_ids": ids}
        offsets = torch.from_numpy(np.cumsum([0, *(len(each) for each in labels)]))
        return {"images": torch.cat(pictures), "label_ids": ids, "label_offsets": offsets}

    def _picture(self, number: int) -> torch.Tensor:
        data = self.images.pictures.read(number)
        try:
            return held_out_picture(data, self.size)
        except BadImageError as error:
            name = self.images.pictures.name(number)
            raise UserError(f"{name} cannot be decoded: {error}. Remove or replace it.") from error


def _as_is(batch: Batch | UserError) -> Batch | UserError:
    return batch

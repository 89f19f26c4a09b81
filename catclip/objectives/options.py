"""An objective's options are its constructor's keywords."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

from catclip.errors import UserError, nearest


def check_options(kind: type, options: Mapping[str, Any], where: str = "objective") -> None:
    """Raise `UserError` for options that an objective does not take, and for those that it lacks.

    Args:
        kind: the objective's class.
        options: its own, without backbone and pairs.
        where: the key under which the user gives them.
    """
    known = {key: each for key, each in signature(kind).parameters.items() if key not in ("backbone", "pairs")}
    for key in options:
        if key not in known:
            raise UserError(
                f"{kind.__name__} takes no option '{key}'.{nearest(key, known)} It takes {', '.join(known)}."
            )
    if missing := [key for key, each in known.items() if each.default is Parameter.empty and key not in options]:
        raise UserError(f"{kind.__name__} needs {where}.{missing[0]}.")


@contextmanager
def options_under(where: str) -> Iterator[None]:
    """Name the options of an objective that is part of another by the keys under which the user gives them there.

    Its vocabulary alone stays `objective.vocabulary`.
    """
    try:
        yield
    except UserError as error:
        raise UserError(re.sub(r"\bobjective\.(?!vocabulary\b)", f"{where}.", str(error))) from error

"""What went wrong with an address: in plain words, and whether it may be better in a moment."""

import re
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from catclip.errors import UserError

_PASSING = (408, 425, 429)  # of the answers below 500: too slow, too early, too many requests
# How fsspec says of a web server that it sends no parts of a file.
_NO_RANGES = re.compile("support range requests|Cannot seek streaming HTTP file")
_LASTING = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    NotImplementedError,
    ssl.SSLCertVerificationError,
)
# Of packages that need not be installed.
_LASTING_NAMES = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")


class AddressError(UserError):
    """An address cannot be read.

    Attributes:
        passes: whether it may be better in a moment.
        pause: seconds after which the server asks to be asked again; None where it says nothing of it.
    """

    def __init__(self, message: str, passes: bool = False, pause: float | None = None) -> None:
        super().__init__(message)
        self.passes = passes
        self.pause = pause


def address_error(address: str, error: Exception) -> AddressError:
    """Return what a file system raised as an `AddressError` that says it in plain words."""
    if isinstance(error, ImportError):
        return AddressError(f"{address} needs a package that is not installed: {error}{_install(address)}")
    return AddressError(f"{address} cannot be read: {_in_words(address, error)}", _passes(error), _pause(error))


def _install(address: str) -> str:
    from fsspec.registry import known_implementations

    package = known_implementations.get(address.partition("://")[0], {}).get("class", "fsspec.").partition(".")[0]
    return "" if package == "fsspec" else f" (pip install {package})"


def is_absence(error: Exception) -> bool:
    """Whether it says that there is no such file, rather than that nobody can tell."""
    status = _status(error)
    *_, root = _chain(error)
    return status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) or (
        status is None and isinstance(error, FileNotFoundError) and isinstance(root, FileNotFoundError | LookupError)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes. File systems say that a file is not there when it is the server that is not."""
    while error is not None:
        yield error
        error = error.__cause__


def _passes(error: Exception) -> bool:
    status = _status(error)
    if status is not None:
        return status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    *_, root = _chain(error)
    return not isinstance(root, _LASTING) and type(root).__name__ not in _LASTING_NAMES


def _in_words(address: str, error: Exception) -> str:
    status = _status(error)
    causes = list(_chain(error))
    root = causes[-1]
    if is_absence(error):
        return "there is no such file."
    if status is not None and status >= HTTPStatus.BAD_REQUEST:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        return f"the server answers {status} {phrase}".rstrip() + "."
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "the server does not answer in time."
    if isinstance(root, ConnectionRefusedError):
        return "the connection is refused."
    if isinstance(root, ConnectionError) or _broke_off(causes):
        return "the connection broke off."
    if any(_NO_RANGES.search(str(cause)) for cause in causes):
        return (
            "the server sends files only from their beginning, and Parquet is read here and there. Copy it to this "
            "machine first, or put simplecache:: before the address, which keeps a copy."
        )
    said = next((cause for cause in causes if not isinstance(cause, FileNotFoundError)), root)
    return f"{type(said).__name__}: {said}"


def _status(error: Exception) -> int | None:
    """Return the number of the server's answer, which each package keeps in its own place; None for no answer."""
    causes = list(_chain(error))
    if _broke_off(causes):
        return None
    for cause in causes:
        response = getattr(cause, "response", None)
        found: list[Any] = [getattr(cause, name, None) for name in ("status", "status_code", "code")]
        found.append(getattr(response, "status_code", None))
        if isinstance(response, dict):  # botocore's
            found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        for status in found:
            if str(status).isdigit() and 100 <= int(status) < 600:
                return int(status)
    return None


def _broke_off(causes: list[BaseException]) -> bool:
    """Whether a web server gave half an answer, or what is none. aiohttp numbers these as if the server had."""
    return any(type(cause).__module__ == "aiohttp.http_exceptions" for cause in causes)


def _pause(error: Exception) -> float | None:
    for cause in _chain(error):
        for holder in (cause, getattr(cause, "response", None)):
            headers: Any = getattr(holder, "headers", None)
            said = headers.get("Retry-After") if hasattr(headers, "get") else None
            if str(said).isdigit():
                return float(str(said))
    return None

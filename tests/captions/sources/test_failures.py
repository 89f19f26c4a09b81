"""What errors of file systems mean: in words, and whether they pass."""

import pickle
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.http_exceptions import BadStatusLine, ContentLengthError

from catclip.captions.sources.failures import AddressError, address_error, is_absence


def caused(error, cause):
    error.__cause__ = cause
    return error


def web(status, headers=None):
    request = SimpleNamespace(real_url="http://x/a")
    return aiohttp.ClientResponseError(request, (), status=status, message="m", headers=headers)


class HubError(OSError):
    """As huggingface_hub's, which holds the server's answer."""

    def __init__(self, status, **headers):
        super().__init__("no")
        self.response = SimpleNamespace(status_code=status, headers=headers)


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, status):
        super().__init__("An error occurred")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class HttpError(Exception):
    """As gcsfs's."""

    def __init__(self, code):
        super().__init__("no")
        self.code = code


class NoCredentialsError(Exception):
    """As botocore's."""


class EndpointConnectionError(Exception):
    """As botocore's."""


@pytest.mark.parametrize(
    ("error", "said", "passes"),
    [
        (FileNotFoundError("http://x/a"), "there is no such file", False),
        (caused(FileNotFoundError("x"), KeyError("x")), "there is no such file", False),
        (caused(FileNotFoundError("x"), ClientError(404)), "there is no such file", False),
        (
            ValueError("The HTTP server doesn't appear to support range requests. Open with block_size=0"),
            "Copy it",
            False,
        ),
        (ValueError("Cannot seek streaming HTTP file"), "only from their beginning", False),
        (web(404), "there is no such file", False),
        (web(403), "403 Forbidden", False),
        (web(401), "401 Unauthorized", False),
        (web(400), "400 Bad Request", False),
        (caused(PermissionError("Access Denied"), ClientError(403)), "403 Forbidden", False),
        (HubError(401), "401 Unauthorized", False),
        (PermissionError(13, "Permission denied"), "Permission denied", False),
        (ssl.SSLCertVerificationError("self-signed certificate"), "self-signed", False),
        (NoCredentialsError("Unable to locate credentials"), "Unable to locate credentials", False),
        (ValueError("no such protocol"), "no such protocol", False),
        (ImportError("install it"), "needs a package that is not installed: install it", False),
        (web(429), "429 Too Many Requests", True),
        (web(408), "408 Request Timeout", True),
        (web(500), "500 Internal Server Error", True),
        (web(599), "answers 599", True),
        (caused(FileNotFoundError("http://x/a"), web(503)), "503 Service Unavailable", True),
        (HubError(503), "503 Service Unavailable", True),
        (caused(OSError("Please reduce your request rate"), ClientError(503)), "503", True),
        (HttpError(502), "502 Bad Gateway", True),
        (HttpError("502"), "502 Bad Gateway", True),
        (TimeoutError(), "does not answer in time", True),
        (caused(FileNotFoundError("http://x/a"), TimeoutError()), "does not answer in time", True),
        (ConnectionRefusedError(111, "Connection refused"), "the connection is refused", True),
        (caused(FileNotFoundError("x"), ConnectionResetError(104, "reset")), "the connection broke off", True),
        (caused(aiohttp.ClientPayloadError("half"), ContentLengthError("half")), "the connection broke off", True),
        (caused(web(400), BadStatusLine("?")), "the connection broke off", True),
        (EndpointConnectionError("Could not connect"), "Could not connect", True),
        (OSError(113, "No route to host"), "No route to host", True),
    ],
)
def test_errors(error, said, passes):
    found = address_error("http://x/a", error)
    assert str(found).startswith("http://x/a ")
    assert said in str(found)
    assert found.passes == passes
    assert is_absence(error) == ("no such file" in said)


def test_what_is_missing_is_named():
    error = address_error("s3://b/a", ImportError("Install s3fs to access S3"))
    assert str(error).endswith("(pip install s3fs)")


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (web(429, {"Retry-After": "7"}), 7),
        (caused(FileNotFoundError("x"), web(503, {"Retry-After": "120"})), 120),
        (HubError(429, **{"Retry-After": "3"}), 3),
        (web(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), None),
        (web(429), None),
        (OSError("no"), None),
    ],
)
def test_a_server_may_say_when(error, pause):
    assert address_error("http://x/a", error).pause == pause


def test_an_error_comes_out_of_a_worker_as_it_was():
    error = pickle.loads(pickle.dumps(address_error("http://x/a", web(503, {"Retry-After": "7"}))))
    assert isinstance(error, AddressError)
    assert (error.passes, error.pause) == (True, 7)

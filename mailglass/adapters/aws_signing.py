"""Signature Version 4: the credentials of AWS, and how a request is signed with them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from mailglass.adapters.http import Request
from mailglass.adapters.signatures import Secret
from mailglass.errors import ConfigError, ConfigErrorType

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_TELLS_ITS_BODY: Final = "s3"
"""The service that wants the digest of the body as a header field too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """An access key, with its session token where it is temporary; its repr shows only the id."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def checked_region(region: str, *, key: str) -> str:
    """Return the name of an AWS region.

    Raises:
        ConfigError: ``invalid`` for a name that cannot be one.

    """
    if _REGION.fullmatch(region) is None:
        raise ConfigError("the region is not an AWS region", type=ConfigErrorType.INVALID, key=key)
    return region


def signed(
    request: Request, *, credentials: AwsCredentials, region: str, now: datetime, service: str
) -> Request:
    """Return the request with a signature of its method, path, headers and body.

    The path is taken as it stands, percent-encoded once; a query is not signed, so there may be none.
    """
    Secret(credentials.secret_access_key, key="aws_secret_access_key").reveal()
    parts = urlsplit(request.url)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(request.body).hexdigest()
    headers = {name.lower(): value for name, value in request.headers} | {"x-amz-date": stamp}
    if service == _TELLS_ITS_BODY:
        headers["x-amz-content-sha256"] = digest
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    covered = sorted((headers | {"host": parts.netloc}).items())
    names = ";".join(name for name, _ in covered)
    lines = "".join(f"{name}:{value}\n" for name, value in covered)
    canonical = f"{request.method}\n{parts.path or '/'}\n\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _signature(credentials, scope, f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}")
    claim = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return replace(request, headers=(*headers.items(), ("authorization", claim)))


def _signature(credentials: AwsCredentials, scope: str, to_sign: str) -> str:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()

"""Amazon S3: the buckets into which SES puts received mail, and how a mail is asked for there.

https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-s3.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailglass.adapters.amazon_ses_sns import PROVIDER
from mailglass.adapters.aws_signing import checked_region
from mailglass.adapters.download import download, lost, of_api
from mailglass.adapters.http import Request, Transport, checked_base_url
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENCRYPTED: Final = ("x-amz-meta-x-amz-key-v2", "x-amz-meta-x-amz-key", "x-amz-meta-x-amz-iv")
"""Under what name the envelope key of an object is kept that its writer encrypted itself."""
_KEY: Final = "inbound_buckets"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundBuckets:
    """The S3 buckets that received mail is fetched from, with SES's own credentials.

    No other bucket is asked, whatever a notification says. ``inbound_region`` is theirs where it is
    not SES's, and ``inbound_url`` the address of S3 where it is not Amazon's public one.

    Raises:
        ConfigError: ``invalid`` for a name that no bucket can have, or an address that is not https.

    """

    inbound_buckets: Sequence[str] = ()
    inbound_region: str | None = None
    inbound_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not all(map(_BUCKET.fullmatch, self.inbound_buckets)):
            raise ConfigError(
                "an S3 bucket cannot have this name", type=ConfigErrorType.INVALID, key=_KEY
            )
        if self.inbound_region is not None:
            checked_region(self.inbound_region, key="inbound_region")
        if self.inbound_url is not None:
            checked_base_url(self.inbound_url, key="inbound_url")

    def request(self, address: str, *, region: str) -> Request:
        """Return the GET of ``/bucket/key``, whose key is percent-encoded; ``region`` is SES's own.

        Raises:
            ConfigError: ``invalid`` for a bucket that is not among these.

        """
        if address.split("/")[1:2] not in [[one] for one in self.inbound_buckets]:
            raise ConfigError(
                "a received mail lies in a bucket that is not allowed",
                type=ConfigErrorType.INVALID,
                key=_KEY,
                hint="Name the bucket of your receipt rule in inbound_buckets.",
            )
        own = f"https://s3.{self.inbound_region or region}.amazonaws.com"
        base_url = checked_base_url(self.inbound_url or own, key="inbound_url")
        return of_api(base_url, address, ())


def fetched_object(transport: Transport, request: Request) -> bytes:
    """Return an object of S3 that is readable as it lies there.

    Raises:
        SendError: ``adapter_failure``; permanent, ``object_encrypted``, for a mail that SES encrypted
            before it stored it, which the key's owner alone can decrypt.
        ConfigError: ``invalid`` when S3 refuses the credentials.

    """
    answer = download(transport, request, provider=PROVIDER)
    if any(answer.headers.first(name) is not None for name in _ENCRYPTED):
        raise lost(PROVIDER, "object_encrypted", FailureClass.PERMANENT)
    return answer.body

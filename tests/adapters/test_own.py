"""What one recipient alone has: metadata and headers, carried by each provider that can, else refused."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import pytest

from mailglass.adapters.api import ApiAdapter
from mailglass.adapters.providers import API_PROVIDERS, build_offline
from mailglass.errors import SendError
from mailglass.message import Message, StoredTemplate
from tests.adapters.wire import a_message, enveloped

ADA, BOB = "ada@recipient.test", "bob@recipient.test"
OWN: Final[dict[str, dict[str, dict[str, str]]]] = {
    "own_metadata": {ADA: {"order": "order-of-ada"}, BOB: {"order": "order-of-bob"}},
    "own_headers": {ADA: {"X-Ref": "ref-of-ada"}, BOB: {"X-Ref": "ref-of-bob"}},
}
_PLACES: Final = {"own_metadata": "order-of", "own_headers": "ref-of"}


def _adapter(provider: str) -> ApiAdapter:
    adapter = build_offline(provider, {})
    assert isinstance(adapter, ApiAdapter)
    return adapter


def _mail(*names: str, **more: Any) -> Message:
    own: dict[str, Any] = {name: OWN[name] for name in names}
    stored = StoredTemplate(**own, **more)
    return a_message(to=[ADA, BOB], stored_template=stored, html=None)


def _written(adapter: ApiAdapter, mail: Message) -> str:
    adapter.check(mail)
    bodies = [one.body.decode() for one in adapter.requests(enveloped(mail))]
    return unquote("\n".join(bodies))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("provider", API_PROVIDERS)
def test_each_recipient_has_what_is_theirs_or_the_mail_is_refused(provider: str, name: str) -> None:
    """Never dropped in silence, and never one recipient's in another's mail."""
    adapter = _adapter(provider)
    if not getattr(adapter.FEATURES, name):
        with pytest.raises(SendError) as caught:
            adapter.check(_mail(name))
        assert caught.value.code == "unsupported_feature"
        return
    written = _written(adapter, _mail(name))
    for whom in ("ada", "bob"):
        assert written.count(f"{_PLACES[name]}-{whom}") == 1


def test_those_that_can_are_known() -> None:
    """A provider that loses it by mistake would pass the test above as one that cannot."""
    found = {
        name: {one for one in API_PROVIDERS if getattr(_adapter(one).FEATURES, name)}
        for name in OWN
    }
    carriers = {"brevo", "mailgun", "mailjet", "mailtrap", "postmark", "resend", "sendgrid"}
    assert found["own_headers"] == carriers | {"sparkpost"}
    assert found["own_metadata"] == carriers | {"mandrill", "sparkpost", "unisender_go"}


def test_an_own_header_takes_the_place_of_the_shared_one() -> None:
    """Names compare without case."""
    stored = StoredTemplate(own_headers={ADA: {"x-ref": "ref-of-ada"}})
    mail = a_message(to=[ADA, BOB], stored_template=stored, headers={"X-Ref": "shared"})
    written = _written(_adapter("postmark"), mail)
    assert (written.count("shared"), written.count("ref-of-ada")) == (1, 1)


@pytest.mark.parametrize(
    "own",
    [
        {"own_headers": {ADA: {"X-Ref": "a\r\nBcc: eve@recipient.test"}}},
        {"own_headers": {ADA: {"Bcc": "eve@recipient.test"}}},
        {"own_metadata": {ADA: {"mailglass_delivery": "x"}}},
        {"own_metadata": {ADA: {"k" * 200: "x"}}},
    ],
)
def test_what_no_mail_may_have_one_recipient_may_not_either(own: dict[str, Any]) -> None:
    """A line break, a header of the mail's own, our own token, a name that is too long."""
    mail = a_message(to=[ADA, BOB], stored_template=StoredTemplate(**own))
    with pytest.raises(SendError):
        _adapter("postmark").check(mail)


def test_a_batch_without_a_template_is_postmarks_plain_batch() -> None:
    """Its address is another one than a template's."""
    adapter = _adapter("postmark")
    (plain,) = adapter.requests(enveloped(_mail("own_metadata")))
    assert plain.url.endswith("/email/batch")
    assert plain.body.startswith(b"[")

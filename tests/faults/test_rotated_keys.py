"""Keys that are changed while requests come in and mails leave: none that is valid is refused."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from dkim_reference import verified
from front_desk import BULK, front_desk, note
from mailglass import Mailglass, SignatureError, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.mailersend import MailerSendAdapter
from mailglass.adapters.postmark import PostmarkAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.clock import system_clock
from mailglass.compliance.dkim_keys import DkimAlgorithm, DkimKey, generate_key, private_pem
from mailglass.compliance.unsubscribe import PLACEHOLDER, UnsubscribeLinks
from mailglass.tokens import Keyring, TokenKey
from mailglass.webhook import HeaderMap
from mailglass.webhooks.endpoint import Endpoint, Receiving
from posted_webhooks import NOW
from webhook_requests import hooked, request

OLD, NEW, OTHER = "the-old-key", "the-new-key", "nobodys-key"
POSTS: Final = 40
THREADS: Final = 4


class Keys:
    """What both ends hold: the provider signs with one, our host accepts the pair that it is told."""

    def __init__(self) -> None:
        self.accepted = (OLD, OLD)
        self.used = OLD

    def change(self, *, accepted: tuple[str, str], used: str) -> None:
        """Change both, first what we accept."""
        self.accepted, self.used = accepted, used

    def accepts(self, form: str = "{}") -> list[Callable[[], str]]:
        """Return what our adapter asks at each request."""
        return [lambda: form.format(self.accepted[0]), lambda: form.format(self.accepted[1])]


def _signed(key: str, body: bytes) -> tuple[str, str]:
    return "Signature", hmac.digest(key.encode(), body, "sha256").hex()


def _with_login(key: str, _body: bytes) -> tuple[str, str]:
    return "Authorization", f"Basic {base64.b64encode(f'hook:{key}'.encode()).decode()}"


Proof: TypeAlias = Callable[[str, bytes], tuple[str, str]]


def _mailersend(keys: Keys) -> Receiving:
    return MailerSendAdapter(api_key="k", webhooks=WebhookAuth(keys=keys.accepts()))


def _postmark(keys: Keys) -> Receiving:
    auth = WebhookAuth(credentials=keys.accepts("hook:{}"))
    return PostmarkAdapter(server_token="t", webhooks=auth)


PROVIDERS: Final[dict[str, tuple[Callable[[Keys], Receiving], Proof]]] = {
    "mailersend": (_mailersend, _signed), "postmark": (_postmark, _with_login),
}  # fmt: skip


def _post(mail: Mailglass, provider: str, proof: Proof, key: str, number: int) -> int:
    body = json.dumps({"number": number, "key": key}).encode()
    headers = HeaderMap([proof(key, body), ("Content-Type", "application/json")])
    return mail.ingest(provider, request(body, headers=headers, now=NOW)).status


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_webhooks_are_taken_while_their_key_changes(provider: str, database_url: str) -> None:
    """F25: old, both, new: no valid request is refused, and in the end each with the old key is."""
    keys = Keys()
    adapter_with, proof = PROVIDERS[provider]
    adapter = adapter_with(keys)
    endpoint = Endpoint(name="main", adapter=adapter, tenant_id="default")

    def valid(number: int) -> int:
        return _post(mail, provider, proof, keys.used, number)

    with hooked(database_url, endpoints=[endpoint]) as mail, ThreadPoolExecutor(THREADS) as pool:
        posted = [pool.submit(valid, number) for number in range(POSTS)]
        keys.change(accepted=(NEW, OLD), used=OLD)
        posted += [pool.submit(valid, POSTS + number) for number in range(POSTS)]
        keys.change(accepted=(NEW, OLD), used=NEW)
        posted += [pool.submit(valid, 2 * POSTS + number) for number in range(POSTS)]
        assert Counter(one.result() for one in posted) == {200: 3 * POSTS}
        keys.change(accepted=(NEW, NEW), used=NEW)
        late = Counter(_post(mail, provider, proof, OLD, number) for number in range(POSTS))
        assert late == {403 if provider == "postmark" else 401: POSTS}
        assert _post(mail, provider, proof, OTHER, 0) in late
        assert valid(-1) == 200


def _leaves(ring: Keyring, token: str) -> bool:
    links = UnsubscribeLinks(url=BULK["unsubscribe_url"], keys=ring)
    try:
        links.delivery_of(token, now=system_clock())
    except SignatureError:
        return False
    return True


def test_links_of_old_mails_work_until_their_key_is_dropped(database_url: str) -> None:
    """F25: hosts with the old secret and hosts with both send at once; each link opens at the new ones."""
    first, second = "a" * 32, "b" * 32
    text = f"News. {BULK['physical_address']} {PLACEHOLDER}"
    bulk = note(stream=Stream.BULK, mailable="app.News", text=text)
    fake, tokens = FakeAdapter(), list[str]()
    for told in ([first], [second, first], [first], [second, first], [second]):
        with front_desk(database_url, fake, **(BULK | {"token_secrets": told})) as mail:
            mail.deliver(bulk)
        assert fake.last is not None
        parsed = message_from_bytes(fake.last.envelope.payload)
        tokens += re.findall(r"leave.shop.example/u/([\w-]+)", parsed["List-Unsubscribe"])
    both = Keyring([TokenKey(secret=one.encode()) for one in (second, first)])
    new = Keyring([TokenKey(secret=second.encode())])
    assert [_leaves(both, one) for one in tokens] == [True] * 5
    assert [_leaves(new, one) for one in tokens] == [False, True, False, True, True]


def _dkim(folder: Path, key: DkimKey) -> dict[str, object]:
    file = folder / f"{key.selector}.pem"
    file.write_bytes(private_pem(key))
    return {"domain": key.domain, "selector": key.selector, "file": file}


def test_mail_that_waited_through_a_change_of_keys_still_verifies(
    database_url: str, tmp_path: Path
) -> None:
    """F25: queued with the old DKIM key and sent by a host with the new one; both records are published."""
    old, new = (
        generate_key(DkimAlgorithm.ED25519_SHA256, domain="shop.example", selector=one)
        for one in ("s1", "s2")
    )
    fake = FakeAdapter()
    with front_desk(database_url, fake, dkim_keys=[_dkim(tmp_path, old)]) as mail:
        mail.deliver_later(note())
    with front_desk(database_url, fake, dkim_keys=[_dkim(tmp_path, new)]) as mail:
        mail.deliver_later(note())
        mail.dispatch_due()
    payloads = [one.envelope.payload for one in fake.sent]
    assert [verified(one, (old, new)) for one in payloads] == [[True], [True]]
    assert sorted(verified(one, (new,)) for one in payloads) == [[False], [True]]

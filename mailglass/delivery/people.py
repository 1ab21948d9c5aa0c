"""People: what is held on one address, told or forgotten, while the ledger and refusals stay whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mailglass.clock import boot_seconds
from mailglass.deliveries import DispatchState
from mailglass.delivery.close import close_queued
from mailglass.delivery.naming import mentioning, naming
from mailglass.errors import ConfigError, ConfigErrorType, Json, SendError, SendErrorType
from mailglass.events import Event, EventType
from mailglass.ledger.people import Held, Kept, PeopleStore, Taken
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions
from mailglass.preflight.suppression import erasure_key_of
from mailglass.settings import Settings
from mailglass.suppression import SuppressionScope, erased_value, value_key

MARGIN_S: Final = 600.0
"""How long a statement may take to be seen that began before an erasure did."""
SHAPE: Final = "mailglass.person/1"
"""The shape of what ``held_on`` returns; a change that breaks readers raises the number."""
_ON_ITS_WAY: Final = frozenset({DispatchState.QUEUED, DispatchState.SENDING, DispatchState.UNKNOWN})
_GIVEN_UP: Final = Move(
    from_state=DispatchState.UNKNOWN,
    to_state=DispatchState.UNKNOWN_FINAL,
    event=EventType.UNKNOWN_FINAL,
    payload={"by": "erasure"},
    code="erased",
)
_NOT_LEFT: Final = (
    "nothing was erased: a mail that holds the address has not left; cancel it or wait"
)
_LEAVING: Final = "nothing was erased: a mail that holds the address leaves just now; try again"
_QUEUED_MEANWHILE: Final = "a mail that holds the address was queued meanwhile; erase once more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """From how many deliveries, messages, webhook receipts and suppressions an address was taken."""

    deliveries: int
    messages: int
    receipts: int
    suppressions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Tells and forgets what one tenant holds on an address; ``by`` names who acts, for the record.

    ``erasure_key`` makes the keyed hash that stands where an address stood: counts by address stay
    right, a refusal still holds, and a link in an old mail still takes its reader off the stream.
    """

    store: Store
    tenant_id: str
    by: str = "application"
    erasure_key: bytes | None = field(default=None, repr=False)

    def erase(self, address: str, *, cancel: bool = False) -> Erased:
        """Forget an address: no table holds it afterwards, and the ledger verifies as before.

        Mails to it, from it or naming it lose their bytes and settings for all their recipients,
        and so cannot be sent again. With ``cancel`` those that have not left are cancelled, and
        unknown ones given up. An address with a tag is another address. Backups, the database's
        log, space that Postgres has freed but not used again, and what is compressed or encrypted
        in an attachment of somebody else's mail are not reached. Doing it again is harmless, and
        ends what was cut off.

        Raises:
            ConfigError: ``missing`` without an erasure key: the person would be mailed again.
            SendError: ``invalid_transition`` with code ``on_its_way`` when a mail has not left
                (with ``cancel``: when one is leaving just now), or was queued meanwhile.

        """
        key, erased = self._key_and_hash(address)
        people, began = PeopleStore(store=self.store, tenant_id=self.tenant_id), boot_seconds()
        names = naming(key)
        mails = [found for found, payload in people.payloads() if names(payload)]
        self._end(people, key, mails, cancel=cancel)
        refusals = self._book().erase(address)
        known_as = _known_as(people.ids([key, erased]))
        receipts = _empty(people, key, known_as)
        holding = list(people.messages(key, mails))
        taken = people.erase(key, erased, holding, receipts=receipts, by=self.by)
        within_s = boot_seconds() - began + MARGIN_S
        late = _empty(people, key, known_as, within_s=within_s)
        if late:
            people.erase(key, erased, (), receipts=late, by=self.by)
        if people.messages(key, ()) or any(
            names(payload) for _, payload in people.payloads(within_s=within_s)
        ):
            raise _on_its_way(_QUEUED_MEANWHILE)
        return _told(taken, receipts + late, refusals)

    def held_on(self, address: str) -> dict[str, Json]:
        """Return everything held on an address as one JSON document, mails in base64.

        With an erasure key what is left of an erased address is found too. Keys: ``shape``,
        ``tenant``, ``address``, ``deliveries`` (each with its ``events`` and its ``mail``, None once
        its bytes are gone), ``received`` (the webhook receipts that ``erase`` would empty, mail from
        the person among them), ``suppressions`` and ``suppression_history``. Times are ISO 8601.
        """
        key = value_key(SuppressionScope.ADDRESS, address)
        keys = [key]
        if self.erasure_key is not None:
            keys.append(erased_value(self.erasure_key, self.tenant_id, key))
        people = PeopleStore(store=self.store, tenant_id=self.tenant_id)
        return {
            "shape": SHAPE,
            "tenant": self.tenant_id,
            "address": key,
            "deliveries": [self._delivery(one) for one in people.deliveries(keys)],
            "received": list(_received(people, key, keys)),
            "suppressions": [_json(row) for row in people.suppressions(keys)],
            "suppression_history": [
                _json({name: getattr(one, name) for name in one.__dataclass_fields__})
                for one in self._book().history(SuppressionScope.ADDRESS, address)
            ],
        }

    def _key_and_hash(self, address: str) -> tuple[str, str]:
        if self.erasure_key is None:
            raise ConfigError(
                "without an erasure key an erased person would be mailed again",
                type=ConfigErrorType.MISSING,
                key="erasure_key",
                hint="Set MAILGLASS_ERASURE_KEY to a secret that is kept for as long as the list.",
            )
        key = value_key(SuppressionScope.ADDRESS, address)
        return key, erased_value(self.erasure_key, self.tenant_id, key)

    def _end(self, people: PeopleStore, key: str, mails: Sequence[UUID], *, cancel: bool) -> None:
        """See that no mail with the address is on its way; what is leaving is left to its attempt."""
        going = {
            message_id: state
            for message_id, state in people.messages(key, mails).items()
            if state in _ON_ITS_WAY
        }
        if going and not cancel:
            raise _on_its_way(_NOT_LEFT)
        if DispatchState.SENDING in going.values():
            raise _on_its_way(_LEAVING)
        for message_id in going:
            close_queued(self.store, self.tenant_id, message_id, DispatchState.CANCELLED)
            self.store.move_messages([Pending(id=message_id)], _GIVEN_UP)
        if going and _ON_ITS_WAY & {*people.messages(key, mails).values()}:
            raise _on_its_way(_LEAVING)

    def _book(self) -> Suppressions:
        return Suppressions(
            store=self.store, tenant_id=self.tenant_id, by=self.by, erasure_key=self.erasure_key
        )

    def _delivery(self, held: Held) -> Json:
        one = held.delivery
        shown = {
            name: getattr(one, name)
            for name in one.__dataclass_fields__
            if name not in {"payload_sha256", "error", "tenant_id"}
        }
        events = self.store.events_of_delivery(self.tenant_id, one.id)
        mail = None if held.payload is None else base64.b64encode(held.payload).decode()
        more = {"address": held.address, "settings": _own(held), "mail": mail}
        return _json({**shown, **more, "events": [_event(event) for event in events]})


def people_of(store: Store, settings: Settings, tenant_id: str, *, by: str) -> People:
    """Return the people of a tenant, with the erasure key of the settings."""
    return People(store=store, tenant_id=tenant_id, by=by, erasure_key=erasure_key_of(settings))


def _own(held: Held) -> dict[str, Any]:
    """Return a mail's settings without what a provider's template says to its other recipients."""
    settings = dict(held.settings)
    stored = settings.get("stored_template")
    if not stored or stored["per_recipient"] is None:
        return settings
    key = value_key(SuppressionScope.ADDRESS, held.address)
    theirs = {one: said for one, said in stored["per_recipient"].items() if one == key}
    return settings | {"stored_template": stored | {"per_recipient": theirs}}


def _known_as(ids: Iterable[tuple[UUID, str | None]]) -> tuple[str, ...]:
    """Return the ids under which providers speak of deliveries, in lower case."""
    return tuple(dict.fromkeys(str(one).lower() for pair in ids for one in pair if one))


def _mentioned(
    people: PeopleStore, key: str, known_as: Sequence[str], *, within_s: float | None = None
) -> Iterator[Kept]:
    mentions = mentioning(key, known_as)
    for kept in people.receipts(within_s=within_s):
        if mentions(kept.body) or mentions(json.dumps(kept.headers).encode()):
            yield kept


def _received(people: PeopleStore, key: str, keys: Sequence[str]) -> Iterator[Json]:
    known_as = _known_as(people.ids(keys))
    mentions = mentioning(key, known_as)
    for kept in _mentioned(people, key, known_as):
        text, encoding = _theirs(kept.body, mentions)
        about = {"id": kept.id, "provider": kept.provider, "endpoint": kept.endpoint}
        told = {"headers": kept.headers, "encoding": encoding, "body": text}
        yield _json({**about, "received_at": kept.received_at, **told})


def _theirs(body: bytes, mentions: Callable[[bytes], bool]) -> tuple[str, str]:
    """Return a body as text and what encodes it: of a JSON array what mentions the person alone."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or of a depth that nobody reads
        whole = None
    if isinstance(whole, list):
        theirs = [one for one in whole if mentions(json.dumps(one).encode())]
        return json.dumps(theirs, ensure_ascii=False), "utf-8"
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _empty(
    people: PeopleStore, key: str, known_as: Sequence[str], *, within_s: float | None = None
) -> int:
    """Take an address out of what came in: the bodies of receipts, and reports without a delivery."""
    found = [kept.id for kept in _mentioned(people, key, known_as, within_s=within_s)]
    return people.empty_receipts(found) + people.erase_orphans(key, known_as)


def _event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "reject_reason": event.reject_reason,
        "payload": dict(event.payload),
    }


def _json(value: Any) -> Json:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case Mapping():
            return {str(name): _json(one) for name, one in value.items()}
        case list() | tuple():
            return [_json(one) for one in value]
        case str():
            return str(value)
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def _told(taken: Taken, receipts: int, suppressions: int) -> Erased:
    return Erased(
        deliveries=taken.deliveries,
        messages=taken.messages,
        receipts=receipts,
        suppressions=suppressions,
    )


def _on_its_way(why: str) -> SendError:
    return SendError(why, type=SendErrorType.INVALID_TRANSITION, code="on_its_way")

"""A batch asks for erased and tagged addresses too, and answers quickly however many are refused."""

from __future__ import annotations

from front_desk import front_desk, note
from mailglass import DispatchState, SuppressedError
from mailglass.ledger.suppressions import Suppressions
from mailglass.preflight.suppression import erasure_key_of
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope


def test_a_batch_refuses_an_erased_person(database_url: str) -> None:
    """One statement for all, hashes and untagged forms included."""
    with front_desk(database_url, erasure_key="0123456789abcdef0123") as mail:
        book = Suppressions(
            store=mail.store, tenant_id="default", erasure_key=erasure_key_of(mail.settings)
        )
        for name in ("zoe", "ann"):
            book.add(
                Suppression(
                    scope=SuppressionScope.ADDRESS,
                    value=f"{name}@mail.example",
                    reason=SuppressionReason.MANUAL,
                    source="test",
                )
            )
        book.erase("zoe@mail.example")
        found = mail.deliver_many(
            [
                note(to="zoe@mail.example"),
                note(to="bob@mail.example"),
                note(to="ann+x@mail.example"),
            ]
        )
    assert [one.state for one in found] == [
        DispatchState.SUPPRESSED,
        DispatchState.QUEUED,
        DispatchState.SUPPRESSED,
    ]
    assert isinstance(found[0].error, SuppressedError)

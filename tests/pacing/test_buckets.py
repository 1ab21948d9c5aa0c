"""Which buckets a mail takes from: by its facts, the most specific limit of each kind."""

from __future__ import annotations

from typing import Any

from mailglass.pacing.buckets import Traffic, asks_of, readable
from mailglass.pacing.vocabulary import Limit


def limits(*given: dict[str, Any]) -> tuple[Limit, ...]:
    """Return limits of one a second, changed by what is given."""
    return tuple(Limit.model_validate({"rate": "1/s"} | one) for one in given)


def traffic(**changes: Any) -> Traffic:
    """Return the facts of a bulk mail to three people at two domains."""
    fields: dict[str, Any] = {
        "tenant": "acme",
        "stream": "bulk",
        "sender_domain": "shop.example",
        "provider": "default",
        "recipients": {"mail.example": 2, "post.example": 1},
    }
    return Traffic(**(fields | changes))


def taken(given: tuple[Limit, ...], about: Traffic, *, delays: bool = True) -> dict[str, int]:
    """Return what is taken from each bucket."""
    return {
        f"{one.bucket.name}: {readable(one.bucket.key)}": one.cost
        for one in asks_of(given, about, delays=delays)
    }


def test_recipients_are_counted_at_their_domain_and_together_elsewhere() -> None:
    """A count per domain, one per provider."""
    given = limits({"per": ["recipient_domain"]}, {"per": ["provider"]})
    assert taken(given, traffic()) == {
        "recipient_domain: mail.example": 2,
        "recipient_domain: post.example": 1,
        "provider: default": 3,
    }


def test_keys_combine() -> None:
    """Each tenant has its own count for each provider."""
    given = limits({"per": ["tenant", "provider"]})
    assert taken(given, traffic()) == {"provider+tenant: default acme": 3}


def test_the_most_specific_limit_holds_alone() -> None:
    """A tenant's own rate replaces everybody's; another tenant keeps that."""
    given = limits(
        {"per": ["provider"]},
        {"per": ["provider"], "match": {"tenant": "acme"}, "rate": "50/s"},
        {"per": ["provider"], "match": {"tenant": "acme", "stream": "bulk"}, "rate": "5/s"},
    )
    assert list(taken(given, traffic())) == ["provider[stream=bulk,tenant=acme]: default"]
    assert list(taken(given, traffic(stream="operational"))) == ["provider[tenant=acme]: default"]
    assert list(taken(given, traffic(tenant="other"))) == ["provider: default"]


def test_a_limit_about_one_domain_lets_the_others_be() -> None:
    """Its name may be written in capitals."""
    given = limits({"per": ["recipient_domain"], "match": {"recipient_domain": "Mail.Example"}})
    assert taken(given, traffic()) == {
        "recipient_domain[recipient_domain=Mail.Example]: mail.example": 2
    }


def test_what_refuses_and_what_delays_are_asked_apart() -> None:
    """Callers answer for their tenant, workers for the wire; intake knows no provider."""
    given = limits({"per": ["tenant"]}, {"per": ["provider"]})
    assert taken(given, traffic()) == {"provider: default": 3}
    assert taken(given, traffic(provider=None), delays=False) == {"tenant: acme": 3}


def test_transactional_mail_waits_for_providers_alone() -> None:
    """Elsewhere it is counted, so that the others see what it took; callers are never refused it."""
    given = limits({"per": ["provider"]}, {"per": ["sender_domain"]}, {"per": ["tenant"]})
    found = asks_of(given, traffic(stream="transactional"), delays=True)
    assert {one.bucket.name: one.is_counted for one in found} == {
        "provider": False,
        "sender_domain": True,
    }
    assert asks_of(given, traffic(stream="transactional"), delays=False) == ()

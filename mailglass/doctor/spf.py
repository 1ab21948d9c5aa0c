"""SPF read as a receiver reads it: what a record includes and how many lookups it costs (RFC 7208)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mailglass.doctor.dns import Lookup, RecordType

LOOKUPS_MAX: Final = 10
"""RFC 7208 section 4.6.4; one more is a permanent error, as if there were no record."""
_WALKED_MAX: Final = 30
_COSTLY: Final = ("a", "mx", "ptr", "exists")
_QUALIFIERS: Final = "+-~?"


@dataclass(slots=True, kw_only=True)
class SpfTree:
    """A record and all that it includes; ``faults`` are what makes receivers give up on it."""

    includes: set[str] = field(default_factory=set)
    lookups: int = 0
    all_qualifier: str | None = None
    faults: list[str] = field(default_factory=list)


def spf_records(lookup: Lookup, domain: str) -> list[str]:
    """Return the SPF records of a domain; more than one is as bad as none."""
    texts = lookup(domain, RecordType.TXT)
    return [one for one in texts if one.lower() == "v=spf1" or one.lower().startswith("v=spf1 ")]


def spf_tree(lookup: Lookup, domain: str, record: str) -> SpfTree:
    """Walk a record with everything that it includes or redirects to."""
    tree = SpfTree()
    _walk(lookup, record, tree, (domain.lower(),))
    return tree


def _walk(lookup: Lookup, record: str, tree: SpfTree, path: tuple[str, ...]) -> None:
    redirect = None
    has_all = False
    for term in record.split()[1:]:
        qualifier, mechanism = (term[0], term[1:]) if term[0] in _QUALIFIERS else ("+", term)
        name, _, value = mechanism.partition(":")
        lower = name.lower()
        if lower == "all":
            has_all = True
            if len(path) == 1:
                tree.all_qualifier = qualifier
        elif lower == "include":
            _follow(lookup, value, tree, path)
        elif lower.startswith("redirect="):
            redirect = name[len("redirect=") :]
        elif lower.partition("/")[0] in _COSTLY:
            tree.lookups += 1
    if redirect is not None and not has_all:
        _follow(lookup, redirect, tree, path, is_redirect=True)


def _follow(
    lookup: Lookup, target: str, tree: SpfTree, path: tuple[str, ...], *, is_redirect: bool = False
) -> None:
    domain = target.lower().rstrip(".")
    tree.lookups += 1
    tree.includes.add(domain)
    if not domain or "%" in domain or tree.lookups > _WALKED_MAX:
        return  # a macro is known only for a mail; past the bound the verdict stands already
    if domain in path:
        tree.faults.append(f"{domain} includes itself")
        return
    records = spf_records(lookup, domain)
    if len(records) != 1:
        tree.faults.append(f"{domain} has {len(records)} SPF records")
        return
    # What a redirect leads to takes the place of the record itself.
    onward = path if not is_redirect or len(path) > 1 else ()
    _walk(lookup, records[0], tree, (*onward, domain))

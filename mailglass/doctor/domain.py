"""Checks of the sending domains in DNS: SPF, DKIM, DMARC and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from mailglass.doctor.check import Check, Fault, Need, Status, UnverifiableError
from mailglass.doctor.dns import Lookup, RecordType
from mailglass.doctor.patient import Patient
from mailglass.doctor.spf import LOOKUPS_MAX, SpfTree, spf_records, spf_tree
from mailglass.settings import AdapterName

_INCLUDES: Final = {
    "amazonaws.com": "amazonses.com",
    "brevo.com": "spf.brevo.com",
    "gmail.com": "_spf.google.com",
    "google.com": "_spf.google.com",
    "mailgun.org": "mailgun.org",
    "mailjet.com": "spf.mailjet.com",
    "mandrillapp.com": "spf.mandrillapp.com",
    "office365.com": "spf.protection.outlook.com",
    "postmarkapp.com": "spf.mtasv.net",
    "sendgrid.net": "sendgrid.net",
}
"""The end of a relay's host name, and what its SPF record is included as."""
_RSA_2048_CHARS_MIN: Final = 350
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_TAG_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


def _lookup(patient: Patient) -> Lookup:
    if patient.lookup is None:
        raise UnverifiableError("DNS was not asked")
    return patient.lookup


def _tags(record: str) -> dict[str, str]:
    """Return the tags of a ``a=b; c=d`` record, as DKIM, DMARC, MTA-STS, TLS-RPT and BIMI have them."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {
        name.strip().lower(): value.strip()
        for name, is_pair, value in pairs
        if is_pair and _TAG_NAME.fullmatch(name.strip())
    }


def _records(patient: Patient, name: str, version: str) -> Sequence[str]:
    texts = _lookup(patient)(name, RecordType.TXT)
    return [one for one in texts if one.replace(" ", "").lower().startswith(f"v={version}".lower())]


def _spf_trees(patient: Patient) -> Iterator[tuple[str, SpfTree]]:
    lookup = _lookup(patient)
    for domain in patient.domains:
        records = spf_records(lookup, domain)
        if len(records) == 1:
            yield domain, spf_tree(lookup, domain, records[0])


def _spf_is_one(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        count = len(spf_records(_lookup(patient), domain))
        if count != 1:
            yield Fault(seen=f"{domain} has {count or 'no'} SPF record{'s' * (count > 1)}")


def _spf_lookups(patient: Patient) -> Iterator[Fault]:
    for domain, tree in _spf_trees(patient):
        if tree.lookups > LOOKUPS_MAX:
            yield Fault(seen=f"{domain} needs {tree.lookups} lookups of {LOOKUPS_MAX}")
        for fault in tree.faults:
            yield Fault(seen=f"{domain}: {fault}")


def _spf_includes_provider(patient: Patient) -> Iterator[Fault]:
    for domain, tree in _spf_trees(patient):
        for wanted in _relays(patient):
            if wanted not in tree.includes:
                status = Status.ERROR if tree.all_qualifier == "-" else Status.WARNING
                ends = f"ends in {tree.all_qualifier or 'no '}all"
                yield Fault(seen=f"{domain} does not include {wanted} and {ends}", status=status)


def _relays(patient: Patient) -> list[str]:
    """Return what the relays of all adapters are included as; those with an API bounce by themselves."""
    hosts = [
        (one.smtp_host or "").lower().rstrip(".")
        for one in patient.adapters.values()
        if one.adapter is AdapterName.SMTP
    ]
    found = [name for host in hosts for end, name in _INCLUDES.items() if _is_below(host, end)]
    return list(dict.fromkeys(found))


def _spf_ends(patient: Patient) -> Iterator[Fault]:
    for domain, tree in _spf_trees(patient):
        if tree.all_qualifier == "+":
            yield Fault(seen=f"{domain} lets everybody send: +all", status=Status.ERROR)
        elif tree.all_qualifier in {None, "?"}:
            yield Fault(seen=f"{domain} says nothing of others: {tree.all_qualifier or 'no '}all")


def _dkim(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        for selector in patient.selectors:
            name = f"{selector}._domainkey.{domain}"
            texts = _lookup(patient)(name, RecordType.TXT)
            if len(texts) != 1:
                yield Fault(seen=f"{name} has {len(texts) or 'no'} record{'s' * (len(texts) > 1)}")
                continue
            yield from _key_faults(name, _tags(texts[0]))


def _key_faults(name: str, tags: dict[str, str]) -> Iterator[Fault]:
    key = re.sub(r"\s", "", tags.get("p", ""))
    kind = tags.get("k", "rsa").lower()
    if not key:
        yield Fault(seen=f"{name}: the key is revoked or missing")
    elif not _BASE64.fullmatch(key):
        yield Fault(seen=f"{name}: the key is no base64")
    elif kind == "rsa" and len(key) < _RSA_2048_CHARS_MIN:
        yield Fault(seen=f"{name}: the RSA key has less than 2048 bits", status=Status.WARNING)
    if "y" in tags.get("t", "").lower().split(":"):
        yield Fault(seen=f"{name}: the key is marked as a test", status=Status.WARNING)


def _dmarc_records(patient: Patient, domain: str) -> tuple[str, Sequence[str]]:
    """Return the records of the domain, else of the nearest parent that has one, and whose they are."""
    labels = domain.split(".")
    for at in range(len(labels) - 1):
        parent = ".".join(labels[at:])
        if found := _records(patient, f"_dmarc.{parent}", "DMARC1"):
            return parent, found
    return domain, ()


def _dmarc(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        owner, found = _dmarc_records(patient, domain)
        if len(found) != 1:
            yield Fault(
                seen=f"{owner} has {len(found) or 'no'} DMARC record{'s' * (len(found) > 1)}"
            )
            continue
        policy = _tags(found[0]).get("p", "").lower()
        if policy not in {"none", "quarantine", "reject"}:
            yield Fault(seen=f"{owner}: DMARC has no valid policy")


def _dmarc_alignment(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        owner, found = _dmarc_records(patient, domain)
        if len(found) != 1 or not patient.selectors:
            continue
        is_strict = _tags(found[0]).get("adkim", "r").lower() == "s"
        signs_itself = any(
            _lookup(patient)(f"{one}._domainkey.{domain}", RecordType.TXT)
            for one in patient.selectors
        )
        if is_strict and not signs_itself:
            yield Fault(seen=f"{owner} asks for strict alignment; no key is published at {domain}")


def _mx(patient: Patient) -> Iterator[Fault]:
    lookup = _lookup(patient)
    for domain in patient.domains:
        found = lookup(domain, RecordType.MX)
        if any(one.split()[-1] in {"0", "."} or one.endswith(" ") for one in found):
            yield Fault(seen=f"{domain} says that it takes no mail (RFC 7505)")
        elif not found and not (lookup(domain, RecordType.A) or lookup(domain, RecordType.AAAA)):
            yield Fault(seen=f"{domain} has neither MX nor address")


def _ptr(patient: Patient) -> Iterator[Fault]:
    lookup = _lookup(patient)
    for address in patient.addresses:
        parsed = ip_address(address)
        names = lookup(parsed.reverse_pointer, RecordType.PTR)
        kind = RecordType.A if parsed.version == 4 else RecordType.AAAA  # noqa: PLR2004 - IPv4
        forward = {ip_address(one) for name in names for one in lookup(name, kind)}
        if not names:
            yield Fault(seen=f"{address} has no name")
        elif parsed not in forward:
            yield Fault(seen=f"the name of {address} does not lead back to it")


def _mta_sts(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        found = _records(patient, f"_mta-sts.{domain}", "STSv1")
        if len(found) > 1 or (found and not _tags(found[0]).get("id", "").isalnum()):
            yield Fault(seen=f"{domain}: the MTA-STS record has no id, or is there twice")
        elif found and not _records(patient, f"_smtp._tls.{domain}", "TLSRPTv1"):
            yield Fault(seen=f"{domain} has MTA-STS, and no TLS-RPT that would tell of failures")


def _tls_rpt(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        for found in _records(patient, f"_smtp._tls.{domain}", "TLSRPTv1"):
            goal = _tags(found).get("rua", "")
            if not goal.lower().startswith(("mailto:", "https:")):
                yield Fault(seen=f"{domain}: TLS-RPT says no address for reports")


def _bimi(patient: Patient) -> Iterator[Fault]:
    for domain in patient.domains:
        for found in _records(patient, f"default._bimi.{domain}", "BIMI1"):
            owner, dmarc = _dmarc_records(patient, domain)
            policy = _tags(dmarc[0]).get("p", "").lower() if len(dmarc) == 1 else ""
            if policy not in {"quarantine", "reject"}:
                yield Fault(seen=f"{domain} has BIMI, and DMARC of {owner} enforces nothing")
            logo = _tags(found).get("l", "").lower()
            if logo and not (logo.startswith("https://") and logo.endswith(".svg")):
                yield Fault(seen=f"{domain}: the BIMI logo is no SVG by https")


def _is_below(host: str, end: str) -> bool:
    return host == end or host.endswith(f".{end}")


def _check(
    name: str, look: Callable[[Patient], Iterator[Fault]], status: Status, title: str, fix: str
) -> Check:
    return Check(
        id=f"dns.{name}",
        need=Need.NETWORK,
        status=status,
        look=look,
        title=title,
        fix=fix,
    )


CHECKS: Final = (
    _check("spf", _spf_is_one, Status.WARNING, "Each domain has one SPF record",
           "Publish exactly one TXT record that begins with v=spf1."),
    _check("spf_lookups", _spf_lookups, Status.ERROR, "SPF can be evaluated",
           "Take out includes that are not needed: at most 10 lookups (RFC 7208 section 4.6.4)."),
    _check("spf_provider", _spf_includes_provider, Status.WARNING, "SPF includes the relay",
           "Add the include that the provider asks for, unless a bounce domain of its own is used."),
    _check("spf_all", _spf_ends, Status.WARNING, "SPF ends in a policy",
           "End the record in ~all or -all."),
    _check("dkim", _dkim, Status.ERROR, "The DKIM keys are published",
           "Publish the record that `mailglass dkim` shows, at the name it shows."),
    _check("dmarc", _dmarc, Status.WARNING, "Each domain has a DMARC policy",
           "Publish _dmarc with v=DMARC1; p=none at least; large receivers ask for it."),
    _check("dmarc_alignment", _dmarc_alignment, Status.ERROR, "Signatures align with the sender",
           "Sign with a key of the From domain itself, or relax adkim (RFC 7489 section 3.1)."),
    _check("mx", _mx, Status.WARNING, "Replies and bounces can arrive",
           "Give the domain an MX record, or send from one that has it."),
    _check("ptr", _ptr, Status.WARNING, "Sending addresses have names that lead back",
           "Ask who runs the address for a PTR record, and point that name at the address."),
    _check("mta_sts", _mta_sts, Status.WARNING, "MTA-STS is whole where it is used",
           "Publish v=STSv1; id=… once, and TLS-RPT beside it (RFC 8461, RFC 8460)."),
    _check("tls_rpt", _tls_rpt, Status.WARNING, "TLS reports have an address",
           "Publish v=TLSRPTv1; rua=mailto:… (RFC 8460)."),
    _check("bimi", _bimi, Status.WARNING, "BIMI is whole where it is used",
           "Enforce DMARC first, and name an SVG by https."),
)  # fmt: skip

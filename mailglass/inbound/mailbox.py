"""Mailbox: routes that a received mail is matched against, in order, and what their handlers say of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Final, TypeAlias

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.inbound.message import InboundMessage

ROUTES_MAX: Final = 1_000
_REASON: Final = re.compile(r"[\w.:/ -]{1,64}", re.ASCII)
_KIND_CHARS_MAX: Final = 40
_NAME: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


@unique
class InboundOutcome(StrEnum):
    """What became of a received mail; ``unrouted`` and ``failed`` are mailglass' own words."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    REJECTED = "rejected"
    BOUNCED = "bounced"
    UNROUTED = "unrouted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a handler says of a mail; a handler that returns nothing has accepted it.

    ``reason`` is a word or two, up to 64 letters, digits and ``_.:/ -``, since it is kept for long.
    """

    outcome: InboundOutcome = InboundOutcome.ACCEPTED
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse a reason that could hold an address or a sentence of the mail."""
        if self.reason is not None and _REASON.fullmatch(self.reason) is None:
            raise ConfigError(
                "the reason of a ruling is a word or two, at most 64 characters",
                type=ConfigErrorType.INVALID,
                key="reason",
            )


Pattern: TypeAlias = "str | re.Pattern[str]"
Handler: TypeAlias = Callable[[InboundMessage], "Ruling | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One handler and what a mail must be for it: every pattern that is given must match."""

    name: str
    handler: Handler = field(repr=False)
    to: Pattern | None = None
    subject: Pattern | None = None
    header: Mapping[str, Pattern] = field(default_factory=lambda: MappingProxyType({}))

    def takes(self, message: InboundMessage) -> bool:
        """Tell whether the mail is for this route."""
        return _is_for(self, message, message.recipients)


def _is_for(route: Route, message: InboundMessage, recipients: tuple[str, ...]) -> bool:
    return (
        (route.to is None or any(_is(route.to, one) for one in recipients))
        and (route.subject is None or _is(route.subject, message.subject))
        and all(_is(one, message.header(name)) for name, one in route.header.items())
    )


def _is(pattern: Pattern, value: str | None) -> bool:
    """Tell whether text is the pattern's, without case, or a regular expression is found in it."""
    if value is None:
        return False
    if isinstance(pattern, str):
        return pattern.strip().lower() == value.strip().lower()
    return pattern.search(value) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """Which route took a mail, and what came of it."""

    route: str | None
    outcome: InboundOutcome
    reason: str | None = None


class Mailbox:
    r"""Holds routes in the order they were made; the first that matches takes the mail.

    ::

        mailbox = Mailbox()

        @mailbox.route(to=re.compile(r"^support\+\d+@"))
        def answer(message: InboundMessage) -> None: ...
    """

    def __init__(self) -> None:
        self._routes: list[Route] = []

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the routes in their order."""
        return tuple(self._routes)

    def route(
        self,
        *,
        to: Pattern | None = None,
        subject: Pattern | None = None,
        header: Mapping[str, Pattern] | None = None,
        name: str | None = None,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that makes a function the handler of what matches all that is given.

        A text matches the whole value without case, a compiled regular expression where it is found.
        Without any pattern a route takes every mail. ``name`` is the function's own unless given.

        Raises:
            ConfigError: ``conflicting`` for a name that is taken, ``invalid`` for one that is no
                word, for more than 1,000 routes and for an ``async def``, which nobody would await.

        """

        def made(handler: Handler) -> Handler:
            self._add(
                Route(
                    name=name or str(getattr(handler, "__name__", "")),
                    handler=handler,
                    to=to,
                    subject=subject,
                    header=MappingProxyType(dict(header or {})),
                )
            )
            return handler

        return made

    def _add(self, route: Route) -> None:
        if _NAME.fullmatch(route.name) is None or len(self._routes) >= ROUTES_MAX:
            raise ConfigError(
                "a route needs a name of letters, digits, _, . and -, and there may be 1,000",
                type=ConfigErrorType.INVALID,
                key="route",
            )
        if iscoroutinefunction(route.handler):
            raise ConfigError(
                f"the handler of {route.name} is an async function",
                type=ConfigErrorType.INVALID,
                key="route",
                hint="Handlers are plain functions; asyncio.run() calls what is async.",
            )
        if any(one.name == route.name for one in self._routes):
            raise ConfigError(
                f"two routes are called {route.name}", type=ConfigErrorType.CONFLICTING, key="route"
            )
        self._routes.append(route)

    def handle(self, message: InboundMessage) -> Handled:
        """Give a mail to the first route that matches; what its handler raises is its outcome.

        So is ``returned_…`` with the name of a type, for a handler that returns something else than
        a Ruling or nothing: then nobody knows what it says of the mail.
        """
        route: Route | None = None
        try:
            whom = message.recipients
            route = next((one for one in self._routes if _is_for(one, message, whom)), None)
            if route is None:
                return Handled(route=None, outcome=InboundOutcome.UNROUTED)
            ruling = _ruling(route.handler(message))
        except Exception as error:  # noqa: BLE001 - the mail is kept and can be handled again, whatever this is
            name = None if route is None else route.name
            kind = type(error).__name__[:64]
            return Handled(route=name, outcome=InboundOutcome.FAILED, reason=kind)
        return Handled(route=route.name, outcome=ruling.outcome, reason=ruling.reason)


def _ruling(returned: object) -> Ruling:
    """Return what a handler says, in words even where it returned something else."""
    if returned is None:
        return Ruling()
    if isinstance(returned, Ruling):
        return returned
    if isinstance(returned, Coroutine):
        returned.close()  # it would never be awaited
    kind = type(returned).__name__[:_KIND_CHARS_MAX]
    return Ruling(outcome=InboundOutcome.FAILED, reason=f"returned_{kind}")

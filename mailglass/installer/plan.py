"""Planning: from what a project holds to the steps that install or remove; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.installer import blocks
from mailglass.installer.catalogue import Piece, pieces
from mailglass.installer.manifest import MANIFEST, Manifest, sha256_of
from mailglass.installer.project import Project

_BESIDE: Final = ".mailglass-new"
_BACKUP: Final = ".mailglass-old"


@unique
class Action(StrEnum):
    """What is done with a file; ``conflict`` leaves it and puts the new text beside it."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    CONFLICT = "conflict"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One file: ``writes`` has the new text of each path that is written, or None to remove it."""

    action: Action
    path: str
    reason: str = ""
    writes: Mapping[str, str | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of an installation or a removal, in order; the last one writes the manifest."""

    steps: tuple[Step, ...]

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """Return what somebody has to look at."""
        return tuple(one for one in self.steps if one.action is Action.CONFLICT)

    @property
    def changes(self) -> Mapping[str, str | None]:
        """Return every path that is written or, with None, removed."""
        return {path: text for step in self.steps for path, text in step.writes.items()}


class _Draft:
    """The texts as they will be, and what the manifest will say, while steps are found."""

    def __init__(self, project: Project) -> None:
        self.texts = dict(project.texts)
        known = self.texts.get(MANIFEST)
        self.before = Manifest.parse(known) if known is not None else None
        self.written = dict(self.before.written) if self.before else {}
        self.offered = dict(self.before.offered) if self.before else {}

    def settle(self, piece: Piece, digest: str) -> None:
        self.written[piece.key] = digest
        self.offered.pop(piece.key, None)

    def step(
        self, action: Action, path: str, writes: Mapping[str, str | None], reason: str = ""
    ) -> Step:
        for name, text in writes.items():
            if text is None:
                self.texts.pop(name, None)
            else:
                self.texts[name] = text
        return Step(action=action, path=path, reason=reason, writes=dict(writes))


def plan(
    project: Project, *, wanted: Iterable[Piece] | None = None, is_forced: bool = False
) -> Plan:
    """Return the steps that bring a project to this version; none writes when it is there already.

    What somebody edited is never replaced: the new text goes to ``PATH.mailglass-new``. Forced, it
    takes the place and the edited text goes to ``PATH.mailglass-old``. What somebody deleted stays
    deleted unless it is forced. ``wanted`` replaces what the catalogue has for the project.

    Raises:
        ConfigError: ``invalid`` for a manifest that cannot be read.

    """
    draft = _Draft(project)
    steps = [_install(draft, piece, is_forced=is_forced) for piece in wanted or pieces(project)]
    manifest = Manifest(
        framework=project.framework.value,
        package=project.package,
        written=draft.written,
        offered=draft.offered,
    )
    return Plan(steps=(*steps, _manifest_step(draft, manifest.dump())))


def plan_removal(project: Project) -> Plan:
    """Return the steps that take an installation away; what somebody edited stays, as a conflict.

    Raises:
        ConfigError: ``missing`` where nothing is installed; ``invalid`` as in ``plan``.

    """
    draft = _Draft(project)
    if draft.before is None:
        raise ConfigError(
            "nothing is installed here",
            type=ConfigErrorType.MISSING,
            key=MANIFEST,
            hint="Run it in the folder that holds the manifest.",
        )
    steps = [_remove(draft, key, digest) for key, digest in sorted(draft.before.written.items())]
    last = draft.step(Action.REMOVE, MANIFEST, {MANIFEST: None})
    return Plan(steps=(*steps, last))


def _install(draft: _Draft, piece: Piece, *, is_forced: bool) -> Step:
    current = draft.texts.get(piece.path)
    try:
        held = _held(current, piece)
    except ValueError:
        return _conflict(draft, piece, f"the marks of the block {piece.block} are damaged")
    digest, recorded = sha256_of(piece.text), draft.written.get(piece.key)
    if held == piece.text:
        draft.settle(piece, digest)
        return draft.step(Action.KEEP, piece.path, {})
    if held is None:
        if recorded is not None and not is_forced:
            return draft.step(Action.KEEP, piece.path, {}, "it was removed by hand")
        draft.settle(piece, digest)
        action = Action.CREATE if current is None else Action.UPDATE
        return draft.step(action, piece.path, {piece.path: _with(current, piece)})
    if sha256_of(held) == recorded:
        draft.settle(piece, digest)
        return draft.step(Action.UPDATE, piece.path, {piece.path: _with(current, piece)})
    if is_forced:
        backup = _free_name(draft, piece.path + _BACKUP, current or "")
        draft.settle(piece, digest)
        writes = {backup: current, piece.path: _with(current, piece)}
        return draft.step(Action.UPDATE, piece.path, writes, f"yours is in {backup}")
    if recorded == digest:
        return draft.step(Action.KEEP, piece.path, {}, "it was edited, and nothing is new")
    return _conflict(draft, piece, "it was edited, and there is a newer text")


def _conflict(draft: _Draft, piece: Piece, reason: str) -> Step:
    digest = sha256_of(piece.text)
    beside = piece.path + _BESIDE
    if draft.offered.get(piece.key) == digest and beside not in draft.texts:
        return draft.step(Action.KEEP, piece.path, {}, "the newer text was dealt with")
    draft.offered[piece.key] = digest
    name = _free_name(draft, beside, piece.text)
    writes = {} if draft.texts.get(name) == piece.text else {name: piece.text}
    told = f"{reason}: merge {name} into it, then delete {name}"
    return draft.step(Action.CONFLICT, piece.path, writes, told)


def _free_name(draft: _Draft, wanted: str, text: str) -> str:
    """Return a name under which nothing else stands that somebody may want."""
    number, name = 1, wanted
    while draft.texts.get(name, text) != text:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _remove(draft: _Draft, key: str, digest: str) -> Step:
    path, _, block = key.partition("#")
    piece = Piece(path=path, text="", block=block or None)
    current = draft.texts.get(path)
    try:
        held = _held(current, piece)
    except ValueError:
        return draft.step(Action.CONFLICT, path, {}, f"the marks of the block {block} are damaged")
    if held is None or current is None:
        return draft.step(Action.KEEP, path, {}, "it was removed by hand")
    if sha256_of(held) != digest:
        return draft.step(Action.CONFLICT, path, {}, "it was edited: remove it yourself")
    rest = blocks.take_out(current, block) if block else None
    return draft.step(Action.REMOVE, path, {path: rest or None})


def _held(current: str | None, piece: Piece) -> str | None:
    """Return the text that stands where the piece goes; None for none."""
    if current is None or piece.block is None:
        return current
    found = blocks.find(current, piece.block)
    return None if found is None else found.inside


def _with(current: str | None, piece: Piece) -> str:
    return piece.text if piece.block is None else blocks.put(current or "", piece.block, piece.text)


def _manifest_step(draft: _Draft, text: str) -> Step:
    current = draft.texts.get(MANIFEST)
    if current == text:
        return draft.step(Action.KEEP, MANIFEST, {})
    action = Action.CREATE if current is None else Action.UPDATE
    return draft.step(action, MANIFEST, {MANIFEST: text})

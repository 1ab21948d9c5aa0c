"""The closed hierarchy: every class and every type of it."""

from __future__ import annotations

import copy
import json
import pickle
import re
import traceback
from enum import StrEnum
from uuid import UUID

import pytest

from mailglass import errors
from mailglass.errors import (
    ERROR_TYPES,
    BatchFailed,
    BatchFailedType,
    FailureClass,
    MailglassError,
    RateLimitError,
    SendError,
    SendErrorType,
    SignatureErrorType,
)

FIELDS: dict[type[MailglassError], dict[str, object]] = {
    errors.SendError: {
        "delivery_id": UUID(int=7),
        "provider": "smtp",
        "failure_class": FailureClass.NOT_SENT,
        "code": "451 4.3.2",
    },
    errors.TemplateError: {"template": "a.html.jinja", "assign": "order", "line": 3},
    errors.SignatureError: {"provider": "postmark", "detail": "short"},
    errors.SuppressedError: {"tenant_id": "t", "stream": "bulk", "reason": "manual", "source": "s"},
    errors.RateLimitError: {"retry_after_ms": 250},
    errors.ConfigError: {"key": "smtp_host", "hint": "Set it."},
    errors.EventLedgerImmutableError: {"pg_code": "45A01"},
    errors.TenancyError: {"provider": "ses", "reason": "none"},
    errors.StreamPolicyError: {"rule": "r", "suggestion": "s"},
    errors.PublishError: {"output": "-a\n+b"},
    errors.BatchFailed: {
        "failures": (SendError("no", type=SendErrorType.EXPIRED, delivery_id=UUID(int=9)),)
    },
}
CASES = [(cls, kind) for cls, kinds in ERROR_TYPES.items() for kind in kinds]


def _make(cls: type[MailglassError], kind: StrEnum) -> MailglassError:
    return cls("it went wrong", type=kind, **FIELDS[cls])


def test_the_table_of_classes_is_complete() -> None:
    """Every subclass has its enum, and there is no other subclass."""
    assert set(ERROR_TYPES) == set(MailglassError.__subclasses__())


def test_the_tree_at_the_top_names_every_class() -> None:
    """The drawing is true."""
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [cls.__name__ for cls in ERROR_TYPES]


@pytest.mark.parametrize(("cls", "kind"), CASES, ids=str)
def test_an_error_survives_pickle_and_copy(cls: type[MailglassError], kind: StrEnum) -> None:
    """It reaches another process with all that it says."""
    error = _make(cls, kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own bytes
        assert type(again) is cls
        assert again.type is kind
        assert again.message == "it went wrong"
        assert str(again) == str(error)
        assert again.to_dict() == error.to_dict()


@pytest.mark.parametrize(("cls", "kind"), CASES, ids=str)
def test_an_error_is_json_without_its_cause(cls: type[MailglassError], kind: StrEnum) -> None:
    """What is written down holds the declared fields and nothing that travelled in the cause."""
    error = _make(cls, kind)
    error.__cause__ = ValueError("canary@secret.example")
    shown = json.dumps(error.to_dict())
    assert json.loads(shown)["error"] == cls.__name__
    assert json.loads(shown)["type"] == kind.value
    assert json.loads(shown)["retryable"] is error.retryable
    assert "canary" not in shown
    assert "@" not in shown + str(error) + repr(error)


@pytest.mark.parametrize("kind", SendErrorType)
@pytest.mark.parametrize("failure", [None, *FailureClass])
def test_a_send_error_is_retryable_only_when_nothing_left(
    kind: SendErrorType, failure: FailureClass | None
) -> None:
    """A retry never doubles a mail."""
    error = SendError("no", type=kind, failure_class=failure)
    safe = kind is SendErrorType.ADAPTER_FAILURE and failure is FailureClass.NOT_SENT
    assert error.retryable is safe


def test_only_three_classes_can_be_retryable() -> None:
    """Everything else needs a change first."""
    always = {RateLimitError, BatchFailed}
    for cls, kind in CASES:
        if cls is not SendError:
            assert _make(cls, kind).retryable is (cls in always)


@pytest.mark.parametrize(
    ("alias", "member"),
    [
        ("missing", SignatureErrorType.MISSING_HEADER),
        ("malformed", SignatureErrorType.MALFORMED_HEADER),
        ("mismatch", SignatureErrorType.BAD_SIGNATURE),
    ],
)
def test_older_names_of_signature_errors_still_work(alias: str, member: SignatureErrorType) -> None:
    """A stored ``mismatch`` is read as what it is called now."""
    assert SignatureErrorType(alias) is member
    assert SignatureErrorType[alias.upper()] is member


def test_a_word_that_is_no_type_is_refused() -> None:
    """The sets are closed."""
    with pytest.raises(ValueError, match="nonsense"):
        SignatureErrorType("nonsense")


def test_context_cannot_be_changed() -> None:
    """What an error says stays as it was raised."""
    with pytest.raises(TypeError):
        _make(SendError, SendErrorType.EXPIRED).context["code"] = "x"  # type: ignore[index]  # the point


def test_a_batch_tells_each_of_its_errors() -> None:
    """The failures of a batch are errors in full."""
    error = _make(BatchFailed, BatchFailedType.ALL_FAILED)
    shown = json.loads(json.dumps(error.to_dict()))
    assert shown["context"]["failures"][0]["type"] == "expired"
    assert shown["context"]["failures"][0]["context"]["delivery_id"] == str(UUID(int=9))


def test_a_traceback_shows_the_hint_and_so_does_that_of_a_copy() -> None:
    """Somebody who forgot a setting reads what to set, without looking at the attribute."""
    error = errors.ConfigError(
        "it needs a host", type=errors.ConfigErrorType.MISSING, hint="Set the host."
    )
    for shown in (error, copy.copy(error)):
        assert "".join(traceback.format_exception(shown)).endswith("a host\nSet the host.\n")
    assert str(error) == "it needs a host"

"""The checks of preflight: each refuses what it is there for, before any row exists."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from front_desk import BULK, Greeting, front_desk, note, rows, write_templates
from mailglass import (
    Attachment,
    ConfigError,
    DispatchState,
    Mailable,
    MailglassError,
    Message,
    RateLimit,
    RateLimitError,
    SendError,
    Stream,
    StreamPolicyError,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    Tracking,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.errors import ConfigErrorType, RateLimitErrorType, SuppressedErrorType
from mailglass.preflight.standard import CHECKS
from mailglass.preflight.tracking_guard import is_auth_mail

NOTHING = {"messages": 0, "deliveries": 0, "events": 0}
HERE = "1 Harbour Street, Dublin"
TIGHT = RateLimit(capacity=2, per_s=0.1)


def _bulk(**changes: object) -> object:
    fields = {"stream": Stream.BULK, "mailable": "app.News", "text": f"News. {HERE}"}
    return note(**(fields | changes))


def test_the_order_of_the_checks_is_the_promised_one() -> None:
    """Tenant, tracking, suppression, rate, stream."""
    assert [check.__name__ for check in CHECKS] == [
        "tenant_is_stamped",
        "no_tracking_on_auth_mail",
        "attachments_are_allowed",
        "no_recipient_is_suppressed",
        "rate_is_within_limits",
        "stream_rules_are_kept",
    ]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"mailable": None}, "bulk_requires_mailable"),
        ({"cc": "ann@mail.example"}, "bulk_requires_one_recipient"),
        ({"text": "News."}, "bulk_requires_physical_address"),
        ({"authenticates": True}, "auth_mail_is_transactional"),
    ],
)
def test_bulk_mail_keeps_its_rules(
    database_url: str, changes: dict[str, object], rule: str
) -> None:
    """Rows 61, 75: a broken rule is named, with what to change, and nothing is written."""
    with front_desk(database_url, **BULK) as mail:
        with pytest.raises(StreamPolicyError) as caught:
            mail.deliver(_bulk(**changes))  # type: ignore[arg-type]  # a Message
        assert caught.value.rule == rule
        assert caught.value.suggestion
        assert rows(database_url) == NOTHING
        mail.deliver(_bulk())  # type: ignore[arg-type]  # a Message


def test_bulk_mail_needs_a_configured_physical_address(database_url: str) -> None:
    """The suggestion names the setting."""
    with front_desk(database_url) as mail, pytest.raises(StreamPolicyError) as caught:
        mail.deliver(_bulk())  # type: ignore[arg-type]  # a Message
    assert "MAILGLASS_PHYSICAL_ADDRESS" in caught.value.suggestion


@pytest.mark.parametrize(
    "name",
    ["app.PasswordReset", "app.MagicLink", "app.VerifyEmail", "app.ConfirmAccount", "app.LoginCode",
     "app.TwoFactorCode", "app.Otp", "a.b.ResetPasswordMail", "app.password_reset", "app.OTPMail",
     "app.PassCode", "app.AccessCode", "app.SecurityCodeMail", "app.SignIn", "app.SignInLink",
     "app.ForgotPassword", "app.Activate_Account", "app.Your2FACode"],
)  # fmt: skip
def test_auth_mail_is_never_tracked(database_url: str, name: str) -> None:
    """Row 64: by the name of its mailable too."""
    assert is_auth_mail(name, authenticates=False)
    tracked = note(mailable=name, tracking=Tracking(clicks=True))
    with front_desk(
        database_url, tracking_url="https://t.shop.example", token_secrets=["x" * 32]
    ) as mail:
        with pytest.raises(ConfigError) as caught:
            mail.deliver(tracked)
        assert caught.value.type is ConfigErrorType.TRACKING_ON_AUTH_STREAM
        assert rows(database_url) == NOTHING


@pytest.mark.parametrize(
    "name",
    ["app.OrderReceipt", "app.HotPotatoNews", "app.Newsletter", "app.DesignInspiration",
     "app.DiscountCode", "app.BlogInsights", "app.AssignInvoice", None],
)  # fmt: skip
def test_other_mail_is_not_taken_for_auth_mail(name: str | None) -> None:
    """The guess is by words, not by letters."""
    assert not is_auth_mail(name, authenticates=False)


def test_tracking_needs_a_host(database_url: str) -> None:
    """Row 67: links are never built from a request's Host."""
    with front_desk(database_url) as mail, pytest.raises(ConfigError) as caught:
        mail.deliver(note(tracking=Tracking(opens=True)))
    assert caught.value.type is ConfigErrorType.TRACKING_HOST_MISSING


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (("zoe@mail.example", SuppressionScope.ADDRESS, None), SuppressedErrorType.ADDRESS),
        (("mail.example", SuppressionScope.DOMAIN, None), SuppressedErrorType.DOMAIN),
        (("zoe@mail.example", SuppressionScope.ADDRESS_STREAM, Stream.OPERATIONAL),
         SuppressedErrorType.ADDRESS_STREAM),
    ],
)  # fmt: skip
def test_each_scope_of_suppression_holds(
    database_url: str,
    entry: tuple[str, SuppressionScope, Stream | None],
    kind: SuppressedErrorType,
) -> None:
    """Rows 57, 70: and the error says why, without the address."""
    value, scope, stream = entry
    refusal = Suppression(
        scope=scope, value=value, stream=stream, reason=SuppressionReason.UNSUBSCRIBE, source="test"
    )
    with front_desk(database_url) as mail:
        mail.suppress(refusal)
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(note(stream=Stream.OPERATIONAL))
        error = caught.value
        assert (error.type, error.reason, error.source) == (kind, "unsubscribe", "test")
        assert "zoe" not in f"{error} {error.to_dict()}"
        if stream is not None:
            mail.deliver(note())  # a receipt still goes
        with tenant("other"):
            mail.deliver(note(stream=Stream.OPERATIONAL))


@pytest.mark.parametrize(
    "value", ["Zoe@Mail.Example", " zoe@mail.example", "Zoë <ZOE@mail.example>"]
)
def test_no_way_of_typing_an_address_suppresses_nobody(database_url: str, value: str) -> None:
    """Row 70: what a person types is brought into the form that is compared."""
    entry = Suppression(
        scope=SuppressionScope.ADDRESS, value=value, reason=SuppressionReason.MANUAL, source="test"
    )
    with front_desk(database_url) as mail:
        mail.suppress(entry)
        with pytest.raises(SuppressedError):
            mail.deliver(note())


def test_a_standing_refusal_is_not_replaced_by_one_that_ends(database_url: str) -> None:
    """An unsubscribe outlives a bounce."""
    with front_desk(database_url) as mail:
        for reason, expires_at in (
            (SuppressionReason.UNSUBSCRIBE, None),
            (SuppressionReason.HARD_BOUNCE, datetime.now(UTC) - timedelta(seconds=1)),
        ):
            mail.suppress(
                Suppression(
                    scope=SuppressionScope.ADDRESS, value="zoe@mail.example", reason=reason,
                    source="test", expires_at=expires_at,
                )
            )  # fmt: skip
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(note())
        assert caught.value.reason == "unsubscribe"


def test_an_expired_suppression_no_longer_holds(database_url: str) -> None:
    """A refusal with an end ends."""
    over = datetime.now(UTC) - timedelta(seconds=1)
    with front_desk(database_url) as mail:
        mail.suppress(
            Suppression(
                scope=SuppressionScope.ADDRESS, value="zoe@mail.example",
                reason=SuppressionReason.MANUAL, source="test", expires_at=over,
            )
        )  # fmt: skip
        mail.deliver(note())


def test_a_complaint_is_never_softened(database_url: str) -> None:
    """A later bounce with an end does not free somebody who complained."""

    def entry(reason: SuppressionReason, expires_at: datetime | None) -> Suppression:
        return Suppression(
            scope=SuppressionScope.ADDRESS, value="zoe@mail.example", reason=reason, source="test",
            expires_at=expires_at,
        )  # fmt: skip

    with front_desk(database_url) as mail:
        mail.suppress(entry(SuppressionReason.COMPLAINT, None))
        mail.suppress(entry(SuppressionReason.HARD_BOUNCE, datetime.now(UTC)))
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(note())
        assert caught.value.reason == "complaint"
        with pytest.raises(SendError, match="does not expire"):
            entry(SuppressionReason.COMPLAINT, datetime.now(UTC))


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("rate_limit_per_domain", RateLimitErrorType.PER_DOMAIN),
        ("rate_limit_per_tenant", RateLimitErrorType.PER_TENANT),
        ("rate_limit_per_stream", RateLimitErrorType.PER_STREAM),
    ],
)
def test_a_used_up_limit_says_when_to_come_back(
    database_url: str, setting: str, kind: RateLimitErrorType
) -> None:
    """Row 73: exact to the token, and transactional mail passes always."""
    limits: dict[str, Any] = {"rate_limit_per_domain": None, setting: TIGHT}
    with front_desk(database_url, **limits) as mail:
        for _ in range(2):
            mail.deliver(note(stream=Stream.OPERATIONAL))
        with pytest.raises(RateLimitError) as caught:
            mail.deliver(note(stream=Stream.OPERATIONAL))
        assert caught.value.type is kind
        assert caught.value.retryable
        assert 9_000 < caught.value.retry_after_ms <= 10_000
        assert rows(database_url)["messages"] == 2
        for _ in range(5):
            mail.deliver(note())


def test_the_wait_is_long_enough(database_url: str) -> None:
    """After retry_after_ms the same call passes."""
    slow = RateLimit(capacity=1, per_s=1 / 600)
    with front_desk(database_url, rate_limit_per_domain=slow) as mail:
        mail.deliver(note(stream=Stream.OPERATIONAL))
        with pytest.raises(RateLimitError) as caught:
            mail.deliver(note(stream=Stream.OPERATIONAL))
        assert 540_000 < caught.value.retry_after_ms <= 600_000
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "update mailglass.limit_states set full_at = full_at - %s * interval '1 ms'",
                [caught.value.retry_after_ms],
            )
        mail.deliver(note(stream=Stream.OPERATIONAL))


def test_every_recipient_costs_a_token_and_a_refusal_costs_none(database_url: str) -> None:
    """Deliveries are counted, not calls; all buckets are taken from or none is."""
    with front_desk(
        database_url,
        rate_limit_per_domain=RateLimit(capacity=3, per_s=0.001),
        rate_limit_per_tenant=RateLimit(capacity=4, per_s=0.001),
    ) as mail:
        mail.deliver(note(stream=Stream.OPERATIONAL, cc="ann@mail.example"))
        with pytest.raises(RateLimitError):
            mail.deliver(note(stream=Stream.OPERATIONAL, cc="ann@mail.example"))
        mail.deliver(note(stream=Stream.OPERATIONAL))
        mail.deliver(note(stream=Stream.OPERATIONAL, to="x@other.example"))
        with pytest.raises(RateLimitError) as caught:
            mail.deliver(note(stream=Stream.OPERATIONAL, to="x@third.example"))
        assert caught.value.type is RateLimitErrorType.PER_TENANT


def test_a_message_larger_than_a_bucket_leaves_it_in_debt(database_url: str) -> None:
    """Row 73: fifty recipients are fifty, however small the bucket."""
    with front_desk(database_url, rate_limit_per_domain=RateLimit(capacity=2, per_s=1.0)) as mail:
        mail.deliver(note(stream=Stream.OPERATIONAL, to=[f"u{n}@mail.example" for n in range(50)]))
        with pytest.raises(RateLimitError) as caught:
            mail.deliver(note(stream=Stream.OPERATIONAL))
        assert caught.value.retry_after_ms > 45_000


def test_parallel_senders_get_exactly_the_limit(database_url: str) -> None:
    """Row 73: the bucket is in Postgres, so threads and hosts share it."""
    with front_desk(
        database_url, rate_limit_per_domain=RateLimit(capacity=10, per_s=0.001)
    ) as mail:

        def send(_number: int) -> bool:
            try:
                mail.deliver(note(stream=Stream.OPERATIONAL))
            except RateLimitError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(send, range(30))) == 10


def test_a_scheduled_mail_takes_its_token_once(database_url: str) -> None:
    """However often the provider asks for patience, the limit counts the mail and not the attempts."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY, times=3)
    limit = RateLimit(capacity=2, per_s=1 / 3600)
    with front_desk(database_url, fake, rate_limit_per_tenant=limit) as mail:
        delivery = mail.deliver_later(note(stream=Stream.OPERATIONAL), at=datetime.now(UTC))
        for _ in range(4):
            mail.dispatch_due()
        settled = mail.delivery(delivery.id)
        assert settled is not None
        assert (settled.state, settled.attempts) == (DispatchState.SENT, 4)
        mail.deliver(note(stream=Stream.OPERATIONAL))
        with pytest.raises(RateLimitError):
            mail.deliver(note(stream=Stream.OPERATIONAL))


def test_a_template_error_burns_no_token(database_url: str, tmp_path: object) -> None:
    """Rendering comes first."""
    folder = write_templates(tmp_path, greeting__html="<p>{{ nmae }}</p>")  # type: ignore[arg-type]  # a Path

    class Notice(Greeting):
        stream = Stream.OPERATIONAL

    with front_desk(database_url, rate_limit_per_domain=TIGHT, templates=(folder,)) as mail:
        for _ in range(5):
            with pytest.raises(MailglassError, match="nmae is missing"):
                mail.deliver(Notice())
        write_templates(folder, greeting__html="<p>{{ name }}</p>")
    with front_desk(database_url, rate_limit_per_domain=TIGHT, templates=(folder,)) as mail:
        mail.deliver(Notice())
        mail.deliver(Notice())


def test_an_application_adds_its_own_check(database_url: str) -> None:
    """A check is a function that raises."""

    def nothing_on_sunday(_message: object, _context: object) -> None:
        raise StreamPolicyError("closed", rule="nothing_on_sunday", suggestion="Wait until Monday.")

    with front_desk(database_url, checks=(*CHECKS, nothing_on_sunday)) as mail:
        with pytest.raises(StreamPolicyError, match="closed"):
            mail.deliver(note())
    assert rows(database_url) == NOTHING


def test_a_check_sees_at_dispatch_what_it_saw_at_intake(database_url: str) -> None:
    """All of the mail: who, what and with which words, also after it has waited in the queue."""
    seen: list[Message] = []
    asked = note(
        cc="ann@mail.example", bcc="bob@mail.example", html="<p>Thank you.</p>", tags=["order"],
        metadata={"order": "7"}, headers={"X-Order": "7"}, reply_to="help@shop.example",
        send_at=datetime.now(UTC), attachments=[Attachment(filename="a.txt", content=b"a")],
    )  # fmt: skip
    with front_desk(
        database_url, checks=(*CHECKS, lambda message, _context: seen.append(message))
    ) as mail:
        mail.deliver_later(asked)
        mail.dispatch_due()
    assert seen == [asked, asked]


def test_mailables_of_every_stream_have_a_definition() -> None:
    """A class says its stream; transactional is the default."""
    assert Mailable.stream is Stream.TRANSACTIONAL

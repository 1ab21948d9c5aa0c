"""Bugs that other senders of mail had, by project and number, and the tests that show us without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SMTP: Final = "adapters/test_smtp_faults.py"
_RECIPIENTS: Final = "adapters/test_smtp_recipients.py"
_SES: Final = "adapters/test_amazon_ses_webhooks.py"
_DELIVER: Final = "delivery/test_deliver.py"
_SWEEP: Final = "delivery/test_sweep.py"
_OTHERS: Final = "delivery/test_sweep_and_others.py"
_RESEND: Final = "delivery/test_resend.py"
_WINDOWS: Final = "faults/test_crash_windows.py::test_what_becomes_of_a_mail_whose_process_dies"
_KILLED: Final = "faults/test_killed_workers.py::test_no_mail_is_lost_or_doubled"
_CUT: Final = "faults/test_cut_connections.py::test_a_connection_cut_at_any_statement_loses_and_doubles_nothing"
_STORM: Final = "faults/test_webhook_storm.py::test_a_storm_ends_as_the_calm_would"
_BROKER: Final = (
    "faults/test_broker.py"
    "::test_a_broker_that_repeats_mixes_up_and_forgets_loses_and_doubles_nothing"
)
_CANCELLED: Final = "faults/test_cancelled.py"
_INGEST: Final = "webhooks/test_ingest.py"
_IDENTITY: Final = "webhooks/test_identity.py"
_CONTRACT: Final = "web/test_webhook_contract.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One bug: where it was, as its public source names it, what happened, and who shows that we lack it.

    ``tests`` are files below ``tests/`` with the name of a function.
    """

    where: str
    what: str
    tests: tuple[str, ...]


def _bug(where: str, what: str, *tests: str) -> Bug:
    return Bug(where=where, what=what, tests=tests)


BUGS: Final[dict[str, Bug]] = {
    "M1": _bug("mailglass 0.1.1", "no fence: a crash behind the acceptance sends again", _WINDOWS),
    "M2": _bug(
        "mailglass 0.1.1", "a key made of the content lets nobody send the same mail twice",
        f"{_DELIVER}::test_the_same_mail_twice_is_two_mails",
        f"{_DELIVER}::test_one_key_is_one_mail",
        "delivery/test_repetition.py::test_other_content_under_the_key_is_refused_before_any_check",
    ),
    "M3": _bug(
        "mailglass 0.1.1", "queued mail loses From, Cc, headers and files",
        f"{_SWEEP}::test_sync_and_queued_mail_are_the_same_bytes",
        "delivery/test_batch.py::test_one_by_one_and_many_write_the_same_rows",
    ),
    "M4": _bug(
        "mailglass 0.1.1", "the provider is never written, so every event is an orphan",
        f"{_IDENTITY}::test_a_mail_is_found_by_the_providers_id_in_each_spelling",
    ),
    "M5": _bug(
        "mailglass 0.1.1", "an error after the commit makes the provider repeat",
        f"{_IDENTITY}::test_a_failing_observer_changes_no_answer",
        "test_telemetry.py::test_an_observer_with_a_bug_stops_no_mail",
    ),
    "M6": _bug(
        "mailglass 0.1.1", "SendGrid's id is compared with its suffix",
        f"{_IDENTITY}::test_a_mail_is_found_by_the_providers_id_in_each_spelling",
    ),
    "M7": _bug(
        "mailglass 0.1.1", "keys hold the place in the batch and are cut and stripped",
        f"{_INGEST}::test_an_event_in_another_batch_counts_once",
        f"{_IDENTITY}::test_events_with_long_ids_are_told_apart",
        f"{_IDENTITY}::test_events_with_ids_beyond_ascii_are_told_apart",
    ),
    "M8": _bug(
        "mailglass 0.1.1", "keys are unique over all tenants",
        f"{_IDENTITY}::test_tenants_may_meet_the_same_event_id",
        f"{_INGEST}::test_a_provider_id_is_looked_for_in_the_endpoints_tenant_alone",
    ),
    "M9": _bug(
        "mailglass 0.1.1", "an event has the time of its arrival",
        "delivery/test_events.py::test_an_event_keeps_the_providers_time_and_words",
    ),
    "M10": _bug(
        "mailglass 0.1.1", "suppression looks at the first To alone, and only once",
        "preflight/test_suppression.py::test_no_place_and_no_spelling_gets_through",
        "preflight/test_suppression.py::test_a_refusal_between_queueing_and_sending_holds",
    ),
    "M11": _bug(
        "mailglass 0.1.1", "tracking tokens are made before there is a delivery",
        "e2e/test_links_of_a_mail.py::test_clicks_and_opens_reach_the_ledger_of_whosever_mail_it_is",
        "compliance/test_unsubscribe.py::test_links_of_two_deliveries_differ",
    ),
    "M12": _bug(
        "mailglass 0.1.1", "TRUNCATE empties the ledger, and the application owns it",
        "ledger/test_immutability.py::test_a_statement_that_changes_history_is_refused",
        "ledger/test_immutability.py::test_ddl_of_the_owner_on_the_ledger_is_refused",
    ),
    "M13": _bug(
        "mailglass 0.1.1", "what waits in memory is lost in a crash",
        _WINDOWS,
        f"{_SWEEP}::test_a_mail_for_later_waits_for_a_worker",
        "worker/test_pipeline.py::test_a_ring_that_fails_loses_no_mail",
    ),
    "M14": _bug(
        "mailglass 0.1.1", "bodies and subjects stay for ever",
        f"{_DELIVER}::test_the_ledger_holds_no_address_subject_or_body",
        "delivery/test_outbox.py::test_bytes_go_after_their_time_and_never_before_the_mail_has_left",
    ),
    "1": _bug(
        "django-post_office #479", "a timeout in a batch sends accepted mails again",
        "ledger/test_claims.py::test_a_timeout_in_a_batch_repeats_no_mail_of_it",
    ),
    "2": _bug(
        "django-post_office #248, #326, #338, #330", "two workers take the same rows, and too early",
        f"{_SWEEP}::test_many_workers_send_each_mail_once",
        "faults/test_clocks.py::test_scheduled_mail_leaves_by_the_databases_clock",
    ),
    "3": _bug(
        "Postal #198", "a proxy sends the reading and the taking to two servers",
        "ledger/test_claims.py::test_a_claim_is_one_statement",
    ),
    "4": _bug("Postal #645, #1085, #1021", "a lock without an owner holds a mail for weeks", _KILLED, _WINDOWS),
    "5": _bug("Postal #3041", "the database goes away and the lock stays", _CUT),
    "6": _bug(
        "Postal #1028, #1236", "a full disk leaves everything pending",
        "faults/test_full_disk.py::test_what_was_accepted_before_and_on_a_full_disk_is_sent",
    ),
    "7": _bug(
        "Postal, its tidy task", "mails with a stale lock are destroyed",
        "ledger/test_immutability.py::test_no_role_of_ours_deletes_messages_or_deliveries",
    ),
    "8": _bug(
        "Postal, its SMTP endpoint", "a reset behind DATA is tried again by itself",
        f"{_SMTP}::test_a_connection_lost_after_the_dot_is_unknown",
    ),
    "9": _bug(
        "FreeScout #5457, #3607, #5094", "a timeout behind the dot is tried every hour",
        f"{_SMTP}::test_a_server_that_hangs_after_the_dot_is_unknown",
        f"{_DELIVER}::test_an_unknown_outcome_is_said_and_not_sent_again",
    ),
    "10": _bug(
        "swiftmailer #828", "a connection that timed out is used again, replies off by one",
        f"{_SMTP}::test_a_second_reply_is_never_taken_for_the_next_answer",
        f"{_RECIPIENTS}::test_recipients_after_a_doubtful_one_go_over_a_new_connection",
    ),
    "11": _bug(
        "Flask-Mail #139", "an error in QUIT hides the 250",
        f"{_SMTP}::test_trouble_at_quit_changes_nothing",
    ),
    "12": _bug(
        "django-post_office #118", "an idle connection that was dropped fails mails",
        f"{_RECIPIENTS}::test_a_stale_pooled_connection_costs_no_mail",
    ),
    "13": _bug(
        "Oban #1141, #250, hexpm #1825", "a rescue by the clock runs a living job twice",
        f"{_SWEEP}::test_a_live_claim_is_left_alone",
        f"{_RESEND}::test_while_the_senders_session_lives_nothing_is_concluded",
    ),
    "14": _bug(
        "Oban #424", "what a stopped worker left blocks what is unique with it",
        f"{_OTHERS}::test_an_unknown_mail_does_not_hold_up_those_behind_it",
    ),
    "15": _bug(
        "River #1302, #1373", "the rescuer overwrites a job that is done",
        f"{_OTHERS}::test_a_sweep_that_was_paused_overwrites_no_verdict",
    ),
    "16": _bug(
        "River #350, #1288", "the rescue does not know how long a job may take",
        "adapters/test_smtp.py::test_the_lease_covers_every_timeout",
    ),
    "17": _bug(
        "River #1318", "a page of rows that cannot be rescued starves the rest",
        f"{_OTHERS}::test_mail_that_waits_for_evidence_starves_no_other",
        "ledger/test_claims.py::test_held_mail_keeps_no_other_from_being_claimed",
    ),
    "18": _bug(
        "River #1105", "a worker discards jobs of kinds it does not know",
        f"{_DELIVER}::test_an_adapter_that_is_gone_from_the_settings_keeps_the_mail",
    ),
    "19": _bug(
        "River #1258", "thousands of jobs run for months and nobody is told",
        "cli/test_outbox.py::test_counts_are_an_alarm", _WINDOWS,
    ),
    "20": _bug("dramatiq #64, #527", "unacknowledged messages vanish for hours or days", _BROKER),
    "21": _bug(
        "dramatiq #692, #461", "a busy actor loses its heart-beat, and its message is run twice",
        "worker/test_brokers.py::test_a_message_that_comes_ten_times_sends_each_mail_once",
        f"{_SWEEP}::test_a_live_claim_is_left_alone",
    ),
    "22": _bug(
        "dramatiq #207, #850, #857", "consumers do not come back after an error of the broker",
        "worker/real_brokers.py::test_a_broker_that_dies_holds_up_no_mail", _BROKER,
    ),
    "23": _bug(
        "dramatiq #791, #801", "a timeout in an async actor loops for ever",
        f"{_CANCELLED}::test_a_task_cancelled_at_any_await_leaves_one_mail",
    ),
    "24": _bug("procrastinate #307, #1408", "the job that rescues jobs is stalled itself", _WINDOWS),
    "25": _bug(
        "procrastinate #1446", "a unique index keeps a job from being put back",
        f"{_OTHERS}::test_a_mail_put_back_while_another_of_its_key_is_on_its_way_waits",
        f"{_DELIVER}::test_one_mail_of_an_ordering_key_is_in_flight",
    ),
    "26": _bug(
        "procrastinate #1435, #1436", "connecting again after any exception had to be taken back",
        _CUT, "faults/test_cut_connections.py::test_a_worker_outlives_a_cut_at_any_statement",
    ),
    "27": _bug(
        "aegra #547", "the dead extend the lease of the living, who have the same name",
        f"{_SWEEP}::test_a_stale_token_writes_nothing",
    ),
    "28": _bug(
        "hexclave #1356, #1030", "mails stay in SENDING without a way out",
        f"{_SWEEP}::test_an_abandoned_claim_becomes_unknown_and_is_not_sent_again",
    ),
    "29": _bug(
        "evc-team-relay #193, #214, hexclave #725", "mails are sent that no transport ever sent",
        "preflight/test_network_guard.py::test_mail_queued_in_production_stays_queued_in_a_copy",
        _KILLED,
    ),
    "30": _bug(
        "objectstack #5161, useSend #407", "nobody looks at what a limit has put off",
        "delivery/test_gate.py::test_a_delayed_mail_leaves_when_its_time_comes",
        f"{_SWEEP}::test_a_mail_for_later_waits_for_a_worker",
    ),
    "31": _bug(
        "mailpulse #7, carlos #3857", "too much is called unknown",
        f"{_SMTP}::test_a_connection_lost_before_the_body_is_not_sent",
        f"{_SMTP}::test_a_connection_lost_in_the_body_is_not_sent",
        "adapters/test_contract.py::test_no_connection_is_not_sent",
    ),
    "32": _bug(
        "carlos #3507", "an accepted mail is shown as failed, since its status was not written",
        "faults/test_troubled_database.py::test_a_lock_on_the_row_costs_no_verdict",
        f"{_DELIVER}::test_a_connection_that_is_cut_during_the_send_loses_no_verdict",
    ),
    "33": _bug(
        "carlos #3834", "what the relay took is called a success, and the bounce is not shown",
        f"{_INGEST}::test_dispatch_states_are_left_alone",
    ),
    "34": _bug(
        "sendgrid/docs #2933, sendgrid-nodejs #710, rdv-insertion #2182", "events repeated and out of order",
        _STORM,
    ),
    "35": _bug(
        "bettervoting #1322, sendgrid/docs #6577, #5642", "an id with another suffix, or none",
        f"{_IDENTITY}::test_a_mail_is_found_by_the_providers_id_in_each_spelling",
        f"{_INGEST}::test_an_event_without_our_token_is_found_by_the_providers_id",
    ),
    "36": _bug(
        "sendgrid-python #950", "a framework writes the body anew before it is verified",
        "web/test_webhooks.py::test_the_request_is_handed_on_as_it_came",
        "webhooks/test_tenants.py::test_a_parsed_body_is_a_mistake_of_the_application",
    ),
    "37": _bug(
        "django-anymail #90 (CVE-2018-6596), CVE-2018-1000089", "a secret told by time or by an error",
        "rules/test_secrets.py::test_secrets_are_compared_in_constant_time",
        f"{_INGEST}::test_no_credential_is_kept_with_a_request",
    ),
    "38": _bug(
        "django-anymail #48", "Mandrill's signature fails behind a proxy",
        "adapters/test_mandrill.py::test_the_address_that_mandrill_was_told_may_be_another",
    ),
    "39": _bug(
        "django-anymail #108, #430", "SendGrid's ids do not match, and nothing is verified",
        f"{_IDENTITY}::test_a_mail_is_found_by_the_providers_id_in_each_spelling",
        "adapters/test_contract.py::test_a_webhook_without_a_key_is_never_believed",
    ),
    "40": _bug(
        "django-anymail, its change log", "line ends in file names, nulls, lost names",
        "test_headers.py::test_filename_that_lies_is_refused",
        "rendering/test_mime.py::test_filename_comes_back",
        f"{_CONTRACT}::test_a_value_of_another_type_anywhere_harms_nothing",
    ),
    "41": _bug(
        "Swoosh #105, #773, #779, lua-resty-mail #9", "Bcc is missing or shown",
        f"{_DELIVER}::test_each_recipient_has_a_delivery_and_bcc_no_header",
        "adapters/test_amazon_ses.py::test_the_recipients_travel_apart_from_the_bytes",
    ),
    "42": _bug(
        "Swoosh #1124, CVE-2026-54893", "a page that runs what a mail says, a path from a request",
        "web/test_unsubscribe.py::test_one_click_answers_any_token_alike",
        "rendering/test_attachments.py::test_anything_else_is_refused",
    ),
    "43": _bug(
        "penpot #11092, posthog #61644, useSend #444, novu #11056, Mailtrain #1389",
        "SNS: no signature, any topic, any host",
        f"{_SES}::test_nothing_is_believed_without_a_topic",
        f"{_SES}::test_another_topic_is_refused_before_anything_is_fetched",
        f"{_SES}::test_a_certificate_from_elsewhere_is_not_fetched",
        f"{_SES}::test_a_subscription_of_others_is_not_confirmed",
    ),
    "44": _bug(
        "Rock #7034, useSend #412, noptin #954, Mailtrain #1195, emailflare #190, #191",
        "looking unsubscribes, the wrong scope, a deleted list frees everybody",
        "web/test_unsubscribe.py::test_looking_changes_nothing",
        "preflight/test_suppression.py::test_an_unsubscribe_holds_on_its_stream_alone",
        "preflight/test_suppression.py::test_nothing_that_is_deleted_takes_a_suppression_with_it",
    ),
    "45": _bug(
        "twenty #24473", "a late delivered wipes out a complaint",
        "webhooks/test_folding.py"
        "::test_every_order_of_seven_events_with_repetition_gives_one_projection",
    ),
    "46": _bug(
        "Plunk #39, resend-node #387, convex-resend #107, customerio-python #133",
        "no idempotency key, or in the wrong place",
        "adapters/test_resend.py::test_the_key_of_the_attempt_travels_in_its_header",
        "adapters/test_brevo.py::test_the_idempotency_key_is_a_uuid_of_the_messages_own",
        "adapters/test_contract.py::test_the_request_is_the_same_each_time",
    ),
    "47": _bug(
        "hexclave #1341", "a complaint after four days finds no mail",
        f"{_IDENTITY}::test_a_complaint_finds_a_mail_of_last_month",
    ),
    "48": _bug(
        "vutuv #1063", "a forged bounce freezes an account",
        f"{_INGEST}::test_a_bounce_for_somebody_the_delivery_never_had_is_buried",
        "inbound/test_unsubscribe.py::test_neither_sender_nor_body_is_believed",
    ),
    "49": _bug(
        "SQLAlchemy #6592 to #13381, asyncpg #464", "a cancelled task poisons or leaks its connection",
        f"{_CANCELLED}::test_a_task_cancelled_before_any_statement_leaves_one_mail",
    ),
    "50": _bug(
        "hexpm #1825", "uniqueness is taken for a guard against running twice",
        "faults/test_killed_workers.py::test_without_the_providers_key_the_laboratory_sees_doubles",
        f"{_SWEEP}::test_a_stale_token_writes_nothing",
    ),
    "51": _bug(
        "bytedeck #2510", "one refused recipient ends the batch",
        "delivery/test_batch.py::test_a_refused_mail_holds_up_no_other",
    ),
    "52": _bug(
        "opencoredev email-sdk #222", "a 550 is tried again",
        f"{_SMTP}::test_a_permanent_refusal_is_permanent_at_every_phase",
    ),
}  # fmt: skip
"""By the row of the list: M for the library whose name we bear, numbers for all others."""

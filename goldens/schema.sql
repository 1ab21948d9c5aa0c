-- What the migrations make; written by scripts/publish-check.
create role mailglass_app inherit;
create role mailglass_audit inherit;
create role mailglass_owner inherit;
create schema mailglass authorization mailglass_owner;
create schema mailglass_guard authorization CURRENT_USER;
create extension citext schema mailglass;

create sequence mailglass.breaker_history_id_seq; -- owner mailglass_owner

create sequence mailglass.feature_history_id_seq; -- owner mailglass_owner

create sequence mailglass.suppression_history_id_seq; -- owner mailglass_owner

create table mailglass.adapter_paces (
    adapter_ref text not null,
    paused_until timestamp with time zone not null default '1970-01-01 00:00:00+00'::timestamp with time zone,
    rate_per_s double precision,
    recovers_per_s2 double precision,
    cut_at timestamp with time zone,
    constraint adapter_paces_adapter_ref_check CHECK ((adapter_ref <> ''::text)),
    constraint adapter_paces_check CHECK ((((rate_per_s IS NULL) = (cut_at IS NULL)) AND ((rate_per_s IS NULL) = (recovers_per_s2 IS NULL)))),
    constraint adapter_paces_rate_per_s_check CHECK ((rate_per_s > (0)::double precision)),
    constraint adapter_paces_recovers_per_s2_check CHECK ((recovers_per_s2 > (0)::double precision)),
    constraint adapter_paces_pkey PRIMARY KEY (adapter_ref)
) with ['fillfactor=50'];
alter table mailglass.adapter_paces owner to mailglass_owner;

create table mailglass.breaker_history (
    id bigint not null identity a,
    tenant_id text not null,
    adapter_ref text not null,
    from_state text not null,
    to_state text not null,
    reason text,
    changed_by text not null,
    at timestamp with time zone not null default clock_timestamp(),
    constraint breaker_history_pkey PRIMARY KEY (id)
);
alter table mailglass.breaker_history owner to mailglass_owner;
CREATE INDEX breaker_history_by_breaker ON mailglass.breaker_history USING btree (adapter_ref, tenant_id, id);
CREATE TRIGGER breaker_history_refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON mailglass.breaker_history FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_breaker_history_change();
alter table mailglass.breaker_history enable always trigger breaker_history_refuse_change;

create table mailglass.breakers (
    tenant_id text not null,
    adapter_ref text not null,
    state text not null default 'closed'::text,
    failures integer not null default 0,
    window_started_at timestamp with time zone not null default clock_timestamp(),
    window_calls integer not null default 0,
    window_failures integer not null default 0,
    wait_s double precision not null default 0,
    retry_at timestamp with time zone,
    reason text,
    changed_by text not null default 'dispatch'::text,
    changed_at timestamp with time zone not null default clock_timestamp(),
    constraint breakers_adapter_ref_check CHECK ((adapter_ref <> ''::text)),
    constraint breakers_check CHECK (((state = 'closed'::text) OR (retry_at IS NOT NULL))),
    constraint breakers_failures_check CHECK ((failures >= 0)),
    constraint breakers_state_check CHECK ((state = ANY (ARRAY['closed'::text, 'open'::text, 'half_open'::text]))),
    constraint breakers_tenant_id_check CHECK ((tenant_id <> ''::text)),
    constraint breakers_pkey PRIMARY KEY (tenant_id, adapter_ref)
) with ['fillfactor=70'];
alter table mailglass.breakers owner to mailglass_owner;
CREATE TRIGGER breakers_note_change AFTER UPDATE ON mailglass.breakers FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION mailglass.note_breaker_change();

create table mailglass.deliveries (
    id uuid not null,
    message_id uuid not null,
    tenant_id text not null,
    kind text not null,
    position smallint not null,
    address mailglass.citext not null,
    address_key text not null,
    state text not null,
    provider text,
    provider_message_id text,
    failure_class text,
    code text,
    outcome text not null default 'none'::text,
    outcome_rank smallint not null default 0,
    outcome_at timestamp with time zone,
    opened_at timestamp with time zone,
    clicked_at timestamp with time zone,
    unsubscribed_at timestamp with time zone,
    seq integer not null default 0,
    prior_hash bytea not null,
    chain_hash bytea not null,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    adapter_ref text,
    constraint deliveries_failure_class_check CHECK ((failure_class = ANY (ARRAY['not_sent'::text, 'permanent'::text, 'unknown'::text, 'suppressed'::text, 'configuration'::text]))),
    constraint deliveries_kind_check CHECK ((kind = ANY (ARRAY['to'::text, 'cc'::text, 'bcc'::text]))),
    constraint deliveries_outcome_check CHECK ((outcome = ANY (ARRAY['none'::text, 'accepted'::text, 'deferred'::text, 'soft_bounced'::text, 'delivered'::text, 'hard_bounced'::text, 'complained'::text]))),
    constraint deliveries_seq_check CHECK ((seq >= 0)),
    constraint deliveries_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'sending'::text, 'unknown'::text, 'sent'::text, 'failed'::text, 'suppressed'::text, 'cancelled'::text, 'expired'::text, 'unknown_final'::text]))),
    constraint deliveries_message_id_fkey FOREIGN KEY (message_id) REFERENCES mailglass.messages(id),
    constraint deliveries_pkey PRIMARY KEY (id),
    constraint deliveries_message_id_position_key UNIQUE (message_id, "position")
) with ['fillfactor=50'];
alter table mailglass.deliveries owner to mailglass_owner;
CREATE INDEX deliveries_by_address ON mailglass.deliveries USING btree (tenant_id, address_key, id);
CREATE INDEX deliveries_by_provider_id ON mailglass.deliveries USING btree (provider, provider_message_id) WHERE (provider_message_id IS NOT NULL);
CREATE TRIGGER deliveries_refuse_delete BEFORE DELETE OR TRUNCATE ON mailglass.deliveries FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.deliveries enable always trigger deliveries_refuse_delete;
CREATE TRIGGER deliveries_transition BEFORE UPDATE OF state ON mailglass.deliveries FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION mailglass.refuse_wrong_transition();

create table mailglass.erasure_marks (
    tenant_id text not null,
    mark text not null,
    created_at timestamp with time zone not null default now(),
    constraint erasure_marks_mark_check CHECK ((mark ~~ 'hmac1:%@erased'::text)),
    constraint erasure_marks_pkey PRIMARY KEY (tenant_id)
);
alter table mailglass.erasure_marks owner to mailglass_owner;

create table mailglass.erasures (
    id uuid not null,
    tenant_id text not null,
    subject text not null,
    deliveries integer not null,
    messages integer not null,
    receipts integer not null,
    changed_by text not null,
    at timestamp with time zone not null default clock_timestamp(),
    constraint erasures_subject_check CHECK ((subject ~ '^hmac1:[0-9a-f]{64}@erased$'::text)),
    constraint erasures_pkey PRIMARY KEY (id)
);
alter table mailglass.erasures owner to mailglass_owner;
CREATE TRIGGER erasures_refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON mailglass.erasures FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_record_change();
alter table mailglass.erasures enable always trigger erasures_refuse_change;

create table mailglass.event_keys (
    tenant_id text not null,
    scope text not null,
    key text not null,
    subject_id uuid not null,
    content_sha256 bytea not null,
    created_at timestamp with time zone not null default now(),
    constraint event_keys_pkey PRIMARY KEY (tenant_id, scope, key)
);
alter table mailglass.event_keys owner to mailglass_owner;
CREATE TRIGGER event_keys_refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON mailglass.event_keys FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.event_keys enable always trigger event_keys_refuse_change;

create table mailglass.events (
    tenant_id text not null,
    delivery_id uuid not null,
    seq integer not null,
    type text not null,
    occurred_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null,
    reject_reason text,
    payload jsonb not null default '{}'::jsonb,
    provider_event_id text,
    trace_id text,
    prev_hash bytea not null,
    hash bytea not null,
    xid xid8 not null default pg_current_xact_id(),
    constraint events_hash_check CHECK ((octet_length(hash) = 32)),
    constraint events_prev_hash_check CHECK ((octet_length(prev_hash) = 32)),
    constraint events_reject_reason_check CHECK ((reject_reason = ANY (ARRAY['invalid'::text, 'bounced'::text, 'timed_out'::text, 'blocked'::text, 'spam'::text, 'unsubscribed'::text, 'other'::text]))),
    constraint events_seq_check CHECK ((seq > 0)),
    constraint events_type_check CHECK ((type = ANY (ARRAY['queued'::text, 'sent'::text, 'rejected'::text, 'failed'::text, 'bounced'::text, 'deferred'::text, 'delivered'::text, 'autoresponded'::text, 'opened'::text, 'clicked'::text, 'complained'::text, 'unsubscribed'::text, 'subscribed'::text, 'unknown'::text, 'attempt_started'::text, 'attempt_failed'::text, 'dispatched'::text, 'suppressed'::text, 'outcome_unknown'::text, 'unknown_final'::text, 'reconciled'::text, 'requeued'::text, 'cancelled'::text, 'expired'::text, 'quarantined'::text, 'resent'::text, 'held'::text, 'released'::text, 'rescheduled'::text, 'routed'::text]))),
    constraint events_pkey PRIMARY KEY (delivery_id, seq)
);
alter table mailglass.events owner to mailglass_owner;
CREATE INDEX events_by_xid ON mailglass.events USING btree (xid);
CREATE UNIQUE INDEX events_dispatched_once ON mailglass.events USING btree (delivery_id) WHERE (type = 'dispatched'::text);
CREATE TRIGGER events_refuse_delete BEFORE DELETE ON mailglass.events FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.events enable always trigger events_refuse_delete;
CREATE TRIGGER events_refuse_forgery BEFORE INSERT ON mailglass.events FOR EACH ROW EXECUTE FUNCTION mailglass.refuse_forged_event();
alter table mailglass.events enable always trigger events_refuse_forgery;
CREATE TRIGGER events_refuse_row BEFORE DELETE OR UPDATE ON mailglass.events FOR EACH ROW EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.events enable always trigger events_refuse_row;
CREATE TRIGGER events_refuse_truncate BEFORE TRUNCATE ON mailglass.events FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.events enable always trigger events_refuse_truncate;
CREATE TRIGGER events_refuse_update BEFORE UPDATE ON mailglass.events FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.events enable always trigger events_refuse_update;

create table mailglass.feature_history (
    id bigint not null identity a,
    name text not null,
    tenant_id text,
    stream text,
    share_before integer,
    share integer,
    changed_by text not null,
    why text,
    at timestamp with time zone not null default clock_timestamp(),
    constraint feature_history_pkey PRIMARY KEY (id)
);
alter table mailglass.feature_history owner to mailglass_owner;
CREATE INDEX feature_history_by_name ON mailglass.feature_history USING btree (name, id);
CREATE TRIGGER feature_history_refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON mailglass.feature_history FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_record_change();
alter table mailglass.feature_history enable always trigger feature_history_refuse_change;

create table mailglass.features (
    name text not null,
    tenant_id text,
    stream text,
    share integer,
    changed_by text not null,
    why text,
    updated_at timestamp with time zone not null default clock_timestamp(),
    constraint features_check CHECK (((name <> 'sending'::text) OR (share = ANY (ARRAY[0, 10000])))),
    constraint features_name_check CHECK ((name ~ '^[a-z][a-z0-9_.-]{0,62}$'::text)),
    constraint features_share_check CHECK (((share >= 0) AND (share <= 10000))),
    constraint features_stream_check CHECK ((stream = ANY (ARRAY['transactional'::text, 'operational'::text, 'bulk'::text]))),
    constraint features_tenant_id_check CHECK ((tenant_id <> ''::text))
);
alter table mailglass.features owner to mailglass_owner;
CREATE UNIQUE INDEX features_by_scope ON mailglass.features USING btree (name, COALESCE(tenant_id, ''::text), COALESCE(stream, ''::text));
CREATE TRIGGER features_note AFTER INSERT OR UPDATE ON mailglass.features FOR EACH ROW EXECUTE FUNCTION mailglass.note_feature();
alter table mailglass.features enable always trigger features_note;
CREATE TRIGGER features_refuse_delete BEFORE DELETE OR TRUNCATE ON mailglass.features FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_record_change();
alter table mailglass.features enable always trigger features_refuse_delete;

create table mailglass.inbound_messages (
    receipt_id uuid not null,
    place integer not null,
    tenant_id text not null,
    provider text not null,
    endpoint text not null,
    route text,
    outcome text not null,
    reason text,
    runs integer not null default 1,
    received_at timestamp with time zone not null default now(),
    handled_at timestamp with time zone not null default now(),
    constraint inbound_messages_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'ignored'::text, 'rejected'::text, 'bounced'::text, 'unrouted'::text, 'failed'::text]))),
    constraint inbound_messages_tenant_id_check CHECK ((tenant_id <> ''::text)),
    constraint inbound_messages_pkey PRIMARY KEY (receipt_id, place)
);
alter table mailglass.inbound_messages owner to mailglass_owner;

create table mailglass.limit_states (
    name text not null,
    key text not null,
    full_at timestamp with time zone not null default '1970-01-01 00:00:00+00'::timestamp with time zone,
    planned timestamp with time zone[] not null default '{"1970-01-01 00:00:00+00","1970-01-01 00:00:00+00","1970-01-01 00:00:00+00"}'::timestamp with time zone[],
    awaited timestamp with time zone not null default '1970-01-01 00:00:00+00'::timestamp with time zone,
    day date not null default '-infinity'::date,
    used bigint not null default 0,
    constraint limit_states_name_check CHECK ((name <> ''::text)),
    constraint limit_states_planned_check CHECK ((cardinality(planned) = 3)),
    constraint limit_states_used_check CHECK ((used >= 0)),
    constraint limit_states_pkey PRIMARY KEY (name, key)
) with ['fillfactor=50'];
alter table mailglass.limit_states owner to mailglass_owner;

create table mailglass.messages (
    id uuid not null,
    tenant_id text not null,
    stream text not null,
    mailable text,
    authenticates boolean not null default false,
    mail_from text not null,
    payload bytea,
    payload_sha256 bytea not null,
    payload_bytes integer not null,
    rfc_message_id text not null,
    settings jsonb not null default '{}'::jsonb,
    state text not null,
    token bigint not null default 0,
    attempts integer not null default 0,
    run_at timestamp with time zone not null,
    order_at timestamp with time zone not null default now(),
    expires_at timestamp with time zone,
    held boolean not null default false,
    lease_until timestamp with time zone,
    owner_key bigint,
    owner_server_start timestamp with time zone,
    on_unknown text not null,
    ordering_key text,
    adapter_ref text not null,
    idempotency_key text,
    resend_of uuid,
    trace_id text,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    stopped_at timestamp with time zone,
    routing text not null default 'free'::text,
    waits_for text,
    constraint messages_attempts_check CHECK ((attempts >= 0)),
    constraint messages_check CHECK (((state <> 'sending'::text) OR ((lease_until IS NOT NULL) AND (token > 0)))),
    constraint messages_on_unknown_check CHECK ((on_unknown = ANY (ARRAY['park'::text, 'resend'::text]))),
    constraint messages_payload_bytes_check CHECK ((payload_bytes > 0)),
    constraint messages_payload_sha256_check CHECK ((octet_length(payload_sha256) = 32)),
    constraint messages_routing_check CHECK ((routing = ANY (ARRAY['free'::text, 'after'::text, 'at'::text, 'fixed'::text]))),
    constraint messages_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'sending'::text, 'unknown'::text, 'sent'::text, 'failed'::text, 'suppressed'::text, 'cancelled'::text, 'expired'::text, 'unknown_final'::text]))),
    constraint messages_stream_check CHECK ((stream = ANY (ARRAY['transactional'::text, 'operational'::text, 'bulk'::text]))),
    constraint messages_tenant_id_check CHECK ((tenant_id <> ''::text)),
    constraint messages_pkey PRIMARY KEY (id)
) with ['fillfactor=50'];
alter table mailglass.messages owner to mailglass_owner;
CREATE INDEX messages_behind_breakers ON mailglass.messages USING btree (tenant_id, waits_for) WHERE ((waits_for IS NOT NULL) AND (state = 'queued'::text));
CREATE INDEX messages_by_tenant ON mailglass.messages USING btree (tenant_id, id);
CREATE INDEX messages_due ON mailglass.messages USING btree (stream, run_at, id) WHERE ((state = 'queued'::text) AND (NOT held) AND (ordering_key IS NULL));
CREATE INDEX messages_due_in_order ON mailglass.messages USING btree (stream, run_at, id) WHERE ((state = 'queued'::text) AND (NOT held) AND (ordering_key IS NOT NULL));
CREATE INDEX messages_expiring ON mailglass.messages USING btree (expires_at) WHERE ((state = 'queued'::text) AND (expires_at IS NOT NULL));
CREATE INDEX messages_leased ON mailglass.messages USING btree (lease_until) WHERE (state = 'sending'::text);
CREATE INDEX messages_of_key ON mailglass.messages USING btree (tenant_id, ordering_key, order_at, id) WHERE ((state = 'queued'::text) AND (NOT held) AND (ordering_key IS NOT NULL));
CREATE UNIQUE INDEX messages_one_in_flight ON mailglass.messages USING btree (tenant_id, ordering_key) WHERE ((state = 'sending'::text) AND (ordering_key IS NOT NULL));
CREATE INDEX messages_stopped_since ON mailglass.messages USING btree (stopped_at) WHERE (stopped_at IS NOT NULL);
CREATE INDEX messages_to_scrub ON mailglass.messages USING btree (updated_at) WHERE ((payload IS NOT NULL) AND (state = ANY (ARRAY['sent'::text, 'failed'::text, 'suppressed'::text, 'cancelled'::text, 'expired'::text, 'unknown_final'::text])));
CREATE INDEX messages_unknown ON mailglass.messages USING btree (updated_at) WHERE (state = 'unknown'::text);
CREATE TRIGGER messages_frozen BEFORE UPDATE OF payload, payload_sha256, payload_bytes ON mailglass.messages FOR EACH ROW EXECUTE FUNCTION mailglass.refuse_thawing();
CREATE TRIGGER messages_refuse_delete BEFORE DELETE OR TRUNCATE ON mailglass.messages FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.messages enable always trigger messages_refuse_delete;
CREATE TRIGGER messages_stopped BEFORE UPDATE OF state ON mailglass.messages FOR EACH ROW WHEN (((old.state = 'queued'::text) AND (new.state = 'sending'::text))) EXECUTE FUNCTION mailglass.keep_stopped_mail();
alter table mailglass.messages enable always trigger messages_stopped;
CREATE TRIGGER messages_transition BEFORE UPDATE OF state ON mailglass.messages FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION mailglass.refuse_wrong_transition();

create table mailglass.migrations (
    name text not null,
    sha256 bytea not null,
    applied_at timestamp with time zone not null default now(),
    applied_by text not null default SESSION_USER,
    constraint migrations_pkey PRIMARY KEY (name)
);
alter table mailglass.migrations owner to mailglass_owner;

create table mailglass.report_keys (
    tenant_id text not null,
    key bytea not null,
    constraint report_keys_key_check CHECK ((octet_length(key) = 32)),
    constraint report_keys_pkey PRIMARY KEY (key)
);
alter table mailglass.report_keys owner to mailglass_owner;
CREATE TRIGGER report_keys_refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON mailglass.report_keys FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_ledger_change();
alter table mailglass.report_keys enable always trigger report_keys_refuse_change;

create table mailglass.suppression_history (
    id bigint not null identity a,
    tenant_id text not null,
    suppression_id uuid not null,
    action text not null,
    scope text not null,
    stream text,
    reason text not null,
    source text not null,
    changed_by text not null,
    why text,
    expires_at timestamp with time zone,
    at timestamp with time zone not null default clock_timestamp(),
    constraint suppression_history_action_check CHECK ((action = ANY (ARRAY['added'::text, 'changed'::text, 'removed'::text, 'restored'::text, 'deleted'::text]))),
    constraint suppression_history_pkey PRIMARY KEY (id)
);
alter table mailglass.suppression_history owner to mailglass_owner;
CREATE INDEX suppression_history_by_suppression ON mailglass.suppression_history USING btree (suppression_id, id);
CREATE TRIGGER suppression_history_refuse_delete BEFORE DELETE ON mailglass.suppression_history FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_history_change();
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_delete;
CREATE TRIGGER suppression_history_refuse_truncate BEFORE TRUNCATE ON mailglass.suppression_history FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_history_change();
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_truncate;
CREATE TRIGGER suppression_history_refuse_update BEFORE UPDATE ON mailglass.suppression_history FOR EACH STATEMENT EXECUTE FUNCTION mailglass.refuse_history_change();
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_update;

create table mailglass.suppression_intake (
    batch_id uuid not null,
    id uuid not null,
    tenant_id text not null,
    scope text not null,
    value text not null,
    stream text,
    reason text not null,
    source text not null,
    note text,
    changed_by text not null,
    expires_at timestamp with time zone,
    created_at timestamp with time zone
);
alter table mailglass.suppression_intake owner to mailglass_owner;
CREATE INDEX suppression_intake_by_batch ON mailglass.suppression_intake USING btree (batch_id);

create table mailglass.suppressions (
    id uuid not null,
    tenant_id text not null,
    scope text not null,
    value text not null,
    stream text,
    reason text not null,
    source text not null,
    expires_at timestamp with time zone,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    note text,
    changed_by text not null default 'application'::text,
    why text,
    removed_at timestamp with time zone,
    constraint suppressions_check CHECK (((scope = 'address_stream'::text) = (stream IS NOT NULL))),
    constraint suppressions_check1 CHECK (((scope = 'domain'::text) = (POSITION(('@'::text) IN (value)) = 0))),
    constraint suppressions_check2 CHECK (((reason <> 'complaint'::text) OR (expires_at IS NULL))),
    constraint suppressions_reason_check CHECK ((reason = ANY (ARRAY['hard_bounce'::text, 'complaint'::text, 'unsubscribe'::text, 'manual'::text, 'policy'::text, 'invalid_recipient'::text]))),
    constraint suppressions_scope_check CHECK ((scope = ANY (ARRAY['address'::text, 'domain'::text, 'address_stream'::text]))),
    constraint suppressions_stream_check CHECK ((stream = ANY (ARRAY['transactional'::text, 'operational'::text, 'bulk'::text]))),
    constraint suppressions_tenant_id_check CHECK ((tenant_id <> ''::text)),
    constraint suppressions_value_check CHECK ((value <> ''::text)),
    constraint suppressions_pkey PRIMARY KEY (id)
);
alter table mailglass.suppressions owner to mailglass_owner;
CREATE UNIQUE INDEX suppressions_by_value ON mailglass.suppressions USING btree (tenant_id, value, scope, COALESCE(stream, ''::text));
CREATE TRIGGER suppressions_note_added AFTER INSERT ON mailglass.suppressions REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION mailglass.note_added_suppressions();
CREATE TRIGGER suppressions_note_changed AFTER UPDATE ON mailglass.suppressions REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION mailglass.note_changed_suppressions();
CREATE TRIGGER suppressions_note_deleted AFTER DELETE ON mailglass.suppressions REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION mailglass.note_deleted_suppressions();

create table mailglass.webhook_dead (
    receipt_id uuid not null,
    place integer not null,
    tenant_id text not null,
    provider text not null,
    endpoint text not null,
    reason text not null,
    at timestamp with time zone not null default now(),
    constraint webhook_dead_reason_check CHECK ((reason ~ '^[a-z0-9_]{1,64}$'::text)),
    constraint webhook_dead_pkey PRIMARY KEY (receipt_id, place)
);
alter table mailglass.webhook_dead owner to mailglass_owner;
CREATE INDEX webhook_dead_by_time ON mailglass.webhook_dead USING btree (at);

create table mailglass.webhook_orphans (
    id uuid not null,
    tenant_id text not null,
    provider text not null,
    endpoint text not null,
    receipt_id uuid not null,
    dedupe_key text not null,
    document jsonb not null,
    received_at timestamp with time zone not null default now(),
    constraint webhook_orphans_tenant_id_check CHECK ((tenant_id <> ''::text)),
    constraint webhook_orphans_pkey PRIMARY KEY (id),
    constraint webhook_orphans_tenant_id_provider_dedupe_key_key UNIQUE (tenant_id, provider, dedupe_key)
);
alter table mailglass.webhook_orphans owner to mailglass_owner;
CREATE INDEX webhook_orphans_by_receipt ON mailglass.webhook_orphans USING btree (receipt_id);

create table mailglass.webhook_receipts (
    id uuid not null,
    tenant_id text not null,
    provider text not null,
    endpoint text not null default ''::text,
    dedupe_key text not null,
    headers jsonb not null,
    body bytea,
    body_sha256 bytea not null,
    state text not null default 'received'::text,
    reason text,
    received_at timestamp with time zone not null default now(),
    processed_at timestamp with time zone,
    lease_until timestamp with time zone,
    constraint webhook_receipts_state_check CHECK ((state = ANY (ARRAY['received'::text, 'processed'::text, 'dead'::text]))),
    constraint webhook_receipts_pkey PRIMARY KEY (id),
    constraint webhook_receipts_tenant_id_provider_endpoint_dedupe_key_key UNIQUE (tenant_id, provider, endpoint, dedupe_key)
);
alter table mailglass.webhook_receipts owner to mailglass_owner;
CREATE INDEX webhook_receipts_by_time ON mailglass.webhook_receipts USING btree (received_at, id);
CREATE INDEX webhook_receipts_open ON mailglass.webhook_receipts USING btree (id) WHERE (state = 'received'::text);

create function mailglass.daily_maximum(spec jsonb, today date) returns bigint
    sql immutable parallel s
    owner mailglass_owner -- body sha256 83a4d931ab38a1c4a815a2440196bdc48da7477c4e6c6f90e037a530227d3e8e
create function mailglass.event_hash(tenant_id text, delivery_id uuid, seq integer, type text, occurred_at timestamp with time zone, recorded_at timestamp with time zone, reject_reason text, payload jsonb, provider_event_id text, trace_id text, prev_hash bytea) returns bytea
    sql stable parallel s
    owner mailglass_owner -- body sha256 44f154cae1428506922c011801828728ad3fad6adcb7b25289986b46061e9777
create function mailglass.folded_state(states text[]) returns text
    sql immutable parallel s
    owner mailglass_owner -- body sha256 2aebdc353e654f0ae2da6f3aa79445a238b3f9379013b3674a506c163461cf36
create function mailglass.genesis_hash(delivery_id uuid) returns bytea
    sql immutable parallel s
    owner mailglass_owner -- body sha256 4aa1aaa6a9df3a31b82226b1d238f051821901fd34e01fb18c3839eb7d37c9d7
create function mailglass.keep_stopped_mail() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 60dd64f3323a4703c0b1c2f33cf4281847ddd042cb710112cf44fe95794fe8b3
create function mailglass.learnt_rate(pace mailglass.adapter_paces, at timestamp with time zone) returns double precision
    sql immutable parallel s
    owner mailglass_owner -- body sha256 8be2459e279a426f1ec05d64aa7cb73a53b16a54f065bec4a39f180c070c4735
create function mailglass.let_through(tenant text, ref text) returns bigint
    sql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 cb895e4f29aa58a604dc770882a26e6b0c9dc32a7a4aa18e7b87eca46b41dcd0
create function mailglass.merged_suppression(held mailglass.suppressions, given mailglass.suppressions) returns mailglass.suppressions
    plpgsql volatile parallel s set search_path=pg_catalog
    owner mailglass_owner -- body sha256 fe2ea95b675454aa218b3dcf43b6ea2ce9313644989917420ca8ba0c7aa47fd7
create function mailglass.note_added_suppressions() returns trigger
    plpgsql volatile parallel u security definer set search_path=pg_catalog
    owner mailglass_owner -- body sha256 a4209c971f9b768d69148f56f1c4c9422f47bec81c662e24fd81fa07e2403b7f
create function mailglass.note_breaker_change() returns trigger
    plpgsql volatile parallel u security definer set search_path=pg_catalog
    owner mailglass_owner -- body sha256 5bc71457fd0e87c44c6528e4532156454a050087bf2578cdacc5e93246f49d84
create function mailglass.note_calls(reports jsonb, limits jsonb) returns TABLE(tenant_id text, adapter_ref text, state_before text, state text)
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 6adb94ff7ebd5d60c4a7cc8128d6dfe568b04d86052f593262e1fe71bb6e5922
create function mailglass.note_changed_suppressions() returns trigger
    plpgsql volatile parallel u security definer set search_path=pg_catalog
    owner mailglass_owner -- body sha256 cc0fcb71c03e89711d110ecd873dc55e8e0735a876faea2f7be26ecbd76573c3
create function mailglass.note_deleted_suppressions() returns trigger
    plpgsql volatile parallel u security definer set search_path=pg_catalog
    owner mailglass_owner -- body sha256 8d3332ac413056544e66f42796ee564dc590e27a0343c5ada4daa15c3d2ed379
create function mailglass.note_feature() returns trigger
    plpgsql volatile parallel u security definer set search_path=pg_catalog
    owner mailglass_owner -- body sha256 83e217ba26aea0c54152010c38379eb2bf33cf60f4e01ebcd5c6df8cbd5abb86
create function mailglass.refuse_breaker_history_change() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 c2c210522b7091e74d2be4899355ba384e0c50f80e26f9f86bc158848dcad8ef
create function mailglass.refuse_forged_event() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 bce1d44d515ae646ed5c01bad2a6495d0e3f01151d4fc038bd23cfd6402b9d93
create function mailglass.refuse_history_change() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 1c978cc838905f5ffb16c7b2f12791d39e144fd685ac0b74ef50e60b3d44f202
create function mailglass.refuse_ledger_change() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 11f56a11cd0310978d75e7d68f230d7cb179f5ded2e104304a9922d4b419ea56
create function mailglass.refuse_record_change() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 0190bc5d36342eda1f1ed5d11433160a2658ab6daa67141221d2af43875006de
create function mailglass.refuse_thawing() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 2054859b6984f79cb0768362e9b22ffb806a7f37401fef1b12217a1a2360eb16
create function mailglass.refuse_wrong_transition() returns trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 f392c667dc151918efa8c3dec2ccb683def9e23d80c7416becae82b509dd0f25
create function mailglass.suppression_changes(held mailglass.suppressions, given mailglass.suppressions) returns boolean
    sql volatile parallel s
    owner mailglass_owner -- body sha256 6cb3a47180c326a84d07e980f5d1badf822f32d0b9a95fe2684f59cd4d8e103d
create function mailglass.suppression_is_over(held mailglass.suppressions) returns boolean
    sql volatile parallel s
    owner mailglass_owner -- body sha256 bd49270207cc05a0871920817e2a6d61df3e8391a88ea41fc59a05c6f18a269b
create function mailglass.suppression_rank(reason text) returns integer
    sql immutable parallel s
    owner mailglass_owner -- body sha256 6a334415f0172e42ff34c565707a8184872db38eced7087c8f95365ce2f11aba
create function mailglass.suppression_takes(held mailglass.suppressions, given mailglass.suppressions) returns boolean
    sql volatile parallel s
    owner mailglass_owner -- body sha256 e264850ab1c36123a6848484edeedc2e54e64ccafac591ee4c680ba8480b5fb9
create function mailglass.take_passes(buckets jsonb, items jsonb, hold_s double precision, plans boolean, asked_at timestamp with time zone) returns TABLE(place integer, is_taken boolean, wait_us bigint, blocker text)
    plpgsql volatile parallel u set search_path=pg_catalog
    owner mailglass_owner -- body sha256 8ebcc4a57850fedbd04ed211bb8d0686f724f9bfa5ea895f620e6c86f7cec44a
create function mailglass_guard.refuse_ledger_ddl() returns event_trigger
    plpgsql volatile parallel u set search_path=pg_catalog
    owner CURRENT_USER -- body sha256 8c0937115d348b19bf630fd4355daf6af2da191d0a83846e9f3208680a13254b

create event trigger mailglass_refuse_ddl on ddl_command_end execute mailglass_guard.refuse_ledger_ddl();
alter event trigger mailglass_refuse_ddl enable always;
create event trigger mailglass_refuse_drop on sql_drop execute mailglass_guard.refuse_ledger_ddl();
alter event trigger mailglass_refuse_drop enable always;
create event trigger mailglass_refuse_rewrite on table_rewrite execute mailglass_guard.refuse_ledger_ddl();
alter event trigger mailglass_refuse_rewrite enable always;

grant SELECT on column mailglass.messages.attempts to mailglass_audit;
grant SELECT on column mailglass.messages.created_at to mailglass_audit;
grant SELECT on column mailglass.messages.id to mailglass_audit;
grant SELECT on column mailglass.messages.mailable to mailglass_audit;
grant SELECT on column mailglass.messages.payload_bytes to mailglass_audit;
grant SELECT on column mailglass.messages.payload_sha256 to mailglass_audit;
grant SELECT on column mailglass.messages.state to mailglass_audit;
grant SELECT on column mailglass.messages.stream to mailglass_audit;
grant SELECT on column mailglass.messages.tenant_id to mailglass_audit;
grant SELECT on column mailglass.messages.updated_at to mailglass_audit;
grant EXECUTE on function mailglass.daily_maximum(jsonb,date) to public;
grant EXECUTE on function mailglass.event_hash(text,uuid,integer,text,timestamp with time zone,timestamp with time zone,text,jsonb,text,text,bytea) to public;
grant EXECUTE on function mailglass.folded_state(text[]) to public;
grant EXECUTE on function mailglass.genesis_hash(uuid) to public;
grant EXECUTE on function mailglass.keep_stopped_mail() to public;
grant EXECUTE on function mailglass.learnt_rate(mailglass.adapter_paces,timestamp with time zone) to public;
grant EXECUTE on function mailglass.let_through(text,text) to public;
grant EXECUTE on function mailglass.merged_suppression(mailglass.suppressions,mailglass.suppressions) to public;
grant EXECUTE on function mailglass.note_added_suppressions() to public;
grant EXECUTE on function mailglass.note_breaker_change() to public;
grant EXECUTE on function mailglass.note_calls(jsonb,jsonb) to public;
grant EXECUTE on function mailglass.note_changed_suppressions() to public;
grant EXECUTE on function mailglass.note_deleted_suppressions() to public;
grant EXECUTE on function mailglass.note_feature() to public;
grant EXECUTE on function mailglass.refuse_breaker_history_change() to public;
grant EXECUTE on function mailglass.refuse_forged_event() to public;
grant EXECUTE on function mailglass.refuse_history_change() to public;
grant EXECUTE on function mailglass.refuse_ledger_change() to public;
grant EXECUTE on function mailglass.refuse_record_change() to public;
grant EXECUTE on function mailglass.refuse_thawing() to public;
grant EXECUTE on function mailglass.refuse_wrong_transition() to public;
grant EXECUTE on function mailglass.suppression_changes(mailglass.suppressions,mailglass.suppressions) to public;
grant EXECUTE on function mailglass.suppression_is_over(mailglass.suppressions) to public;
grant EXECUTE on function mailglass.suppression_rank(text) to public;
grant EXECUTE on function mailglass.suppression_takes(mailglass.suppressions,mailglass.suppressions) to public;
grant EXECUTE on function mailglass.take_passes(jsonb,jsonb,double precision,boolean,timestamp with time zone) to public;
grant EXECUTE on function mailglass_guard.refuse_ledger_ddl() to public;
grant USAGE on schema mailglass to mailglass_app;
grant USAGE on schema mailglass to mailglass_audit;
grant DELETE, INSERT, SELECT, UPDATE on table mailglass.adapter_paces to mailglass_app;
grant SELECT on table mailglass.breaker_history to mailglass_app;
grant SELECT on table mailglass.breaker_history to mailglass_audit;
grant INSERT, SELECT, UPDATE on table mailglass.breakers to mailglass_app;
grant SELECT on table mailglass.breakers to mailglass_audit;
grant INSERT, SELECT, UPDATE on table mailglass.deliveries to mailglass_app;
grant SELECT on table mailglass.deliveries to mailglass_audit;
grant INSERT, SELECT on table mailglass.erasure_marks to mailglass_app;
grant INSERT, SELECT on table mailglass.erasures to mailglass_app;
grant SELECT on table mailglass.erasures to mailglass_audit;
grant INSERT, SELECT on table mailglass.event_keys to mailglass_app;
grant DELETE, INSERT, SELECT, TRUNCATE, UPDATE on table mailglass.events to mailglass_app;
grant SELECT on table mailglass.events to mailglass_audit;
grant SELECT on table mailglass.feature_history to mailglass_app;
grant SELECT on table mailglass.feature_history to mailglass_audit;
grant INSERT, SELECT, UPDATE on table mailglass.features to mailglass_app;
grant SELECT on table mailglass.features to mailglass_audit;
grant DELETE, INSERT, SELECT, UPDATE on table mailglass.inbound_messages to mailglass_app;
grant DELETE, INSERT, SELECT, UPDATE on table mailglass.limit_states to mailglass_app;
grant INSERT, SELECT, UPDATE on table mailglass.messages to mailglass_app;
grant SELECT on table mailglass.migrations to mailglass_app;
grant INSERT, SELECT on table mailglass.report_keys to mailglass_app;
grant SELECT on table mailglass.suppression_history to mailglass_app;
grant SELECT on table mailglass.suppression_history to mailglass_audit;
grant DELETE, INSERT, SELECT on table mailglass.suppression_intake to mailglass_app;
grant DELETE, INSERT, SELECT, UPDATE on table mailglass.suppressions to mailglass_app;
grant DELETE, INSERT, SELECT on table mailglass.webhook_dead to mailglass_app;
grant DELETE, INSERT, SELECT on table mailglass.webhook_orphans to mailglass_app;
grant DELETE, INSERT, SELECT, UPDATE on table mailglass.webhook_receipts to mailglass_app;

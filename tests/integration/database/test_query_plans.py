"""Every named query gets at its rows as it was meant to: by an index, or whole where it must.

What is expected names columns, not indexes, so that it holds for a partition's index as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import pytest

import database as queries
from deploy.local import Endpoints
from tests.support.databases import own_database
from tests.support.full_tables import ROWS, fill
from tests.support.plans import Access, PlanMode, Planner

BATCHES = (1, 500)
"""How many rows are asked for at once: a lone call's, and a full batch's."""

MODES: tuple[PlanMode, ...] = ("force_custom_plan", "force_generic_plan")


Key = tuple[str, tuple[str, ...]]
"""A table and columns of it."""


@dataclass(frozen=True)
class Reads:
    """What a query may read, and how."""

    found: frozenset[Key] = frozenset()
    """By which columns it finds rows, of which tables."""
    first: frozenset[Key] = frozenset()
    """In the order of which columns it takes the first rows, of which tables."""
    whole: frozenset[str] = frozenset()
    """Tables that it reads whole, though they may be large."""
    everything: bool = False
    """All of it may be read, by whatever way is quickest."""
    planned: bool = True
    """Not so for a transaction's frame and for switches of triggers, which have no plan."""

    def __or__(self, other: Reads) -> Reads:
        return Reads(self.found | other.found, self.first | other.first, self.whole | other.whole)

    def faults(self, accesses: Sequence[Access]) -> list[str]:
        """How `accesses` differ from this."""
        faults = [
            f"{table} is not searched by {columns}"
            for table, columns in sorted(self.found)
            if not any(one.table == table and one.finds_by(columns) for one in accesses)
        ]
        faults += [
            f"{table} is not followed by {columns}"
            for table, columns in sorted(self.first)
            if not any(one.table == table and one.follows(columns) for one in accesses)
        ]
        read = {one.table for one in accesses if one.reads_much}
        if not self.everything:
            faults += [f"{table} is read whole" for table in sorted(read - self.whole)]
        return faults + [f"{table} is not read whole" for table in sorted(self.whole - read)]


NOTHING = Reads()
"""Rows are only added, or read from tables that have few of them: nothing large is read."""
FRAME = Reads(planned=False)
VERIFICATION = Reads(everything=True)
"""It is about every row."""
BOUNDED = Reads(everything=True)
"""Of a table that has some thousand rows at most, asked for by a person."""


def by(table: str, *columns: str) -> Reads:
    return Reads(found=frozenset({(table, columns)}))


def first(table: str, *columns: str) -> Reads:
    return Reads(first=frozenset({(table, columns)}))


def whole(*tables: str) -> Reads:
    return Reads(whole=frozenset(tables))


ACCOUNTS = by("ledger.accounts", "id")
DECLINES = by("ledger.declines", "id")
TRANSFERS = by("ledger.transfers", "id")
DETAILS = by("ledger.transfer_details", "id")
JOURNAL = by("ledger.journal", "xid", "id")
FIRST_OF_JOURNAL = first("ledger.journal", "xid", "id")
ENTRIES = by("ledger.transfers", "debit_account", "debit_version") | by(
    "ledger.transfers", "credit_account", "credit_version"
)
KEYS = by("ledger.idempotency_keys", "ledger.key_locator(client, key)")
LEASES = by("ledger.id_leases", "instance")
PINS = by("signing.pins", "user_id")
APPROVALS = by("signing.authorizations", "digest")
BOTH_SIDES = by("ledger.transfers", "debit_account", "debit_version") | by(
    "ledger.transfers", "credit_account", "credit_version"
)
IN_ORDER = first("ledger.transfers", "debit_account", "debit_version") | first(
    "ledger.transfers", "credit_account", "credit_version"
)
REWRITES = by("projection.rewrites", "sink", "data_key")
SUBSCRIPTIONS = by("webhooks.subscriptions", "id")
DELIVERY = by("webhooks.deliveries", "id")
COUNTERS = by("signing.attempt_counters", "user_id")

EXPECTED = {
    # The newest rows of each part. Where an account is asked for, the others are left out.
    "audit.trail": first("ledger.audit", "created_at_us", "id")
    | first("audit.events", "first_us", "id")
    | first("signing.events", "first_us", "id")
    | by("ledger.erased_keys", "data_key"),
    "accounts.act_as": NOTHING,
    "accounts.find_keys": KEYS,
    "accounts.identifiers_of": by("ledger.external_identifiers", "account"),
    "accounts.link_identifier": NOTHING,
    "accounts.lock_account": ACCOUNTS,
    "accounts.open_accounts": NOTHING,
    "accounts.raise_revision": ACCOUNTS,
    "accounts.read_account_details": by("ledger.account_details", "id"),
    "accounts.read_accounts": ACCOUNTS,
    "accounts.set_limit": ACCOUNTS,
    "accounts.set_status": ACCOUNTS,
    "accounts.write_account_details": NOTHING,
    "accounts.write_journal": NOTHING,
    "accounts.write_keys": NOTHING,
    # Both lists are short: they follow an index from its end, with a look at each row's own.
    "chain.add_seal": NOTHING,
    # Counting is about every row.
    "chain.count_named": VERIFICATION,
    "chain.find_seal": by("ledger.seals", "number"),
    "chain.first_unnamed": VERIFICATION,
    "chain.hash_accounts": ACCOUNTS,
    "chain.hash_declines": DECLINES,
    "chain.hash_transfers": TRANSFERS,
    "chain.journal_until": JOURNAL | FIRST_OF_JOURNAL,
    "chain.last_seal": first("ledger.seals", "number"),
    "chain.next_seals": by("ledger.seals", "number") | first("ledger.seals", "number"),
    # All that was not sealed yet is counted.
    "chain.unsealed": VERIFICATION,
    "data_keys.add": NOTHING,
    "data_keys.forget_approvals": NOTHING,
    "data_keys.destroy": by("signing.data_keys", "subject"),
    "data_keys.find": by("signing.data_keys", "id"),
    "data_keys.find_destroyed": by("signing.destroyed_data_keys", "id"),
    "data_keys.find_destroyed_of": by("signing.destroyed_data_keys", "subject"),
    "data_keys.find_in_force": by("signing.data_keys", "subject"),
    "desk.short_reversals": first("ledger.declines", "parent_id")
    | by("ledger.transfers", "parent_id")
    | ACCOUNTS,
    "desk.waiting_reviews": first("ledger.open_holds", "id") | TRANSFERS,
    "dead_letters.discard_asked": BOUNDED,
    "dead_letters.discard_letters": by("projection.dead_letters", "sink", "kind", "document_id"),
    "dead_letters.next_letters": by("projection.dead_letters", "sink", "kind", "document_id"),
    "drift.day_declines": VERIFICATION,
    "drift.day_moves": VERIFICATION,
    "drift.day_totals": VERIFICATION,
    "drift.declines_of_day": VERIFICATION,
    "drift.known_accounts": ACCOUNTS,
    "drift.known_transfers": TRANSFERS | DECLINES,
    "drift.slice_end": VERIFICATION,
    "drift.transfers_of_day": VERIFICATION,
    "erasure.erase_account_details": NOTHING,
    "erasure.erase_keys": NOTHING,
    "erasure.write_journal": NOTHING,
    "events.close_services_events": FRAME,
    "events.close_signing_events": FRAME,
    "events.drop_services_events": first("audit.events", "first_us", "id")
    | by("audit.events", "id"),
    "events.drop_signing_events": first("signing.events", "first_us", "id")
    | by("signing.events", "id"),
    # Goes once through all rows, from where it was.
    "events.find_plain_events": by("audit.events", "id") | first("audit.events", "id"),
    "events.open_services_events": FRAME,
    "events.open_signing_events": FRAME,
    "events.seal_events": by("audit.events", "id"),
    "events.tell_of_drop": NOTHING,
    # Each part of a list follows an index from its own end, and ends with the page.
    "history.count_transfers": BOTH_SIDES
    | by("ledger.transfers", "credit_account", "created_at_us")
    | by("ledger.declines", "debit_account", "created_at_us"),
    "history.find_account": ACCOUNTS,
    "history.find_decline": DECLINES | ACCOUNTS | DETAILS | by("ledger.erased_keys", "data_key"),
    "history.find_entry": BOTH_SIDES | first("ledger.transfers", "debit_account", "debit_version"),
    "history.find_latest_children": by("ledger.transfers", "parent_id", "parent_sequence"),
    "history.find_transfer": TRANSFERS | ACCOUNTS | DETAILS | by("ledger.erased_keys", "data_key"),
    "history.find_version": ACCOUNTS | BOTH_SIDES,
    "history.list_declines": first("ledger.declines", "debit_account", "created_at_us", "id")
    | by("ledger.declines", "debit_account", "created_at_us")
    | ACCOUNTS
    | DETAILS,
    "history.list_entries": IN_ORDER | BOTH_SIDES | DETAILS,
    "history.list_transfers": IN_ORDER
    | BOTH_SIDES
    | by("ledger.transfers", "credit_account", "created_at_us")
    | first("ledger.transfers", "credit_account", "created_at_us", "id")
    | ACCOUNTS
    | DETAILS,
    "history.read_freshness": JOURNAL | first("ledger.journal", "xid", "id"),
    "history.version_of": TRANSFERS,
    # Generations are few, and so are requests that wait.
    "generations.add_generation": NOTHING,
    "generations.advance_build": NOTHING,
    "generations.end_request": NOTHING,
    "generations.expected_documents": NOTHING,
    "generations.forget_generation": NOTHING,
    "generations.journal_end": first("ledger.journal", "xid", "id"),
    "generations.last_ids": first("ledger.transfers", "id")
    | first("ledger.declines", "id")
    | first("ledger.accounts", "id"),
    "generations.list_generations": NOTHING,
    # A build is about every row.
    "generations.next_accounts": VERIFICATION,
    "generations.next_declines": VERIFICATION,
    "generations.next_request": NOTHING,
    "generations.next_transfers": VERIFICATION,
    "generations.note_months": NOTHING,
    "generations.retire": NOTHING,
    "generations.serve": NOTHING,
    # Looks for a free number among 1,024.
    "id_leases.count_ahead": NOTHING,
    "id_leases.lease": LEASES,
    "id_leases.release": LEASES,
    "id_leases.renew": LEASES,
    "identifiers.find_identifiers": by("ledger.external_identifiers", "scheme", "value"),
    "local_seed.seed_grants": NOTHING,
    "local_seed.seed_scheme_grants": NOTHING,
    "local_seed.seed_step_up_policies": by("ledger.step_up_policies", "currency"),
    "partitions.add_transfer_partition": NOTHING,
    "partitions.covered_until": NOTHING,
    "past.paid_before": by("ledger.transfers", "debit_account"),
    "past.unapproved_since": by("ledger.transfers", "debit_account", "debit_version"),
    # Policy is small.
    "policy.all_policies": NOTHING,
    "policy.find_policy": NOTHING,
    "policy.give_grant": NOTHING,
    "policy.give_scheme": NOTHING,
    "policy.all_risk_rules": NOTHING,
    "policy.limit_revision": NOTHING,
    "policy.list_grants": NOTHING,
    "policy.remove_limit": NOTHING,
    "policy.remove_policy": NOTHING,
    "policy.remove_risk_rule": NOTHING,
    "policy.risk_rule_revision": NOTHING,
    "policy.set_limit": by("ledger.limits", "client", "method", "name"),
    "policy.set_policy": by("ledger.step_up_policies", "currency"),
    "policy.set_risk_rule": by("ledger.risk_rules", "currency"),
    "policy.take_grant": by("ledger.grants", "client", "action", "scope", "institution"),
    "policy.take_scheme": by("ledger.scheme_grants", "client", "scheme"),
    "policy.take_turn": NOTHING,
    "posting.clock_us": NOTHING,
    "posting.find_by_reference": by("ledger.transfers", "client", "reference")
    | by("ledger.declines", "client", "reference"),
    "posting.find_declines": DECLINES,
    "posting.find_details": DETAILS | by("ledger.erased_keys", "data_key"),
    "posting.find_expired_holds": by("ledger.open_holds", "expires_at_us"),
    "posting.find_groups": by("ledger.transfer_groups", "id"),
    "posting.find_held": ACCOUNTS,
    "posting.find_keys": KEYS,
    "posting.find_latest_children": by("ledger.transfers", "parent_id"),
    "posting.find_payers": ACCOUNTS | KEYS,
    "posting.find_transfers": TRANSFERS,
    "posting.horizon": NOTHING,
    "posting.lock_accounts": ACCOUNTS,
    "posting.next_transaction": NOTHING,
    "posting.write_authorizations": NOTHING,
    "posting.write_batch": NOTHING,
    "posting.write_declines": NOTHING,
    "posting.write_details": NOTHING,
    "posting.write_groups": NOTHING,
    "projection_desk.ask": NOTHING,
    "projection_desk.checkpoints": NOTHING,
    "projection_desk.generations": NOTHING,
    "projection_desk.letter": by("projection.dead_letters", "sink"),
    "projection_desk.letters": by("projection.dead_letters", "sink"),
    "projection_desk.request": NOTHING,
    "projection_desk.requests": BOUNDED,
    "projector.count_dead_letters": by("projection.dead_letters", "sink"),
    "projector.load_accounts": ACCOUNTS,
    "projector.load_checkpoint": NOTHING,
    "projector.load_declines": DECLINES | DETAILS,
    "projector.load_latest_children": by("ledger.transfers", "parent_id", "parent_sequence"),
    "projector.load_transfers": TRANSFERS | DETAILS,
    "projector.read_epoch": NOTHING,
    "projector.read_journal": JOURNAL | first("ledger.journal", "xid", "id"),
    "projector.save_checkpoint": by("projection.checkpoints", "sink"),
    "projector.save_dead_letters": by("projection.dead_letters", "sink", "kind", "document_id"),
    "projector.still_connected": NOTHING,
    "projector.try_lead": NOTHING,
    # Policy: a few rows, all of which are wanted.
    "query.read_grants": NOTHING,
    "rewrites.advance_rewrite": REWRITES,
    "rewrites.end_rewrite": REWRITES,
    "rewrites.find_details_under": by("ledger.transfer_details", "owner_key", "id")
    | by("ledger.transfer_details", "actor_key", "id"),
    "rewrites.next_rewrite": first("projection.rewrites", "sink", "data_key"),
    "rewrites.postpone_rewrite": REWRITES,
    "rewrites.request_rewrites": REWRITES,
    "risk.all_rules": NOTHING,
    "risk.debits_of_day": by("ledger.transfers", "debit_account", "debit_version"),
    "risk.stored_keys": KEYS,
    "rules.all_grants": NOTHING,
    "rules.all_limits": whole("ledger.limits"),
    "rules.all_scheme_grants": whole("ledger.scheme_grants"),
    "rules.all_step_up_policies": NOTHING,
    "schema.read_version": NOTHING,
    # Goes once through all rows, from where it was.
    "seal.close_audit": FRAME,
    "seal.find_plain_audit": by("ledger.audit", "id") | first("ledger.audit", "id"),
    "seal.open_audit": FRAME,
    "seal.seal_audit": by("ledger.audit", "id"),
    "seal.find_plain": first("ledger.transfer_details", "id") | TRANSFERS | DECLINES | ACCOUNTS,
    "seal.seal_plain": DETAILS,
    "signing.add_device": NOTHING,
    "signing.authorize_by_device": by("signing.devices", "id"),
    # A user has one attempt without a verdict, and an index of its own for it.
    "signing.approve_by_pin": COUNTERS | PINS | by("signing.attempts", "user_id"),
    "signing.change_pin": PINS,
    "signing.count_devices": by("signing.devices", "user_id"),
    "signing.devices_in_force": by("signing.devices", "user_id"),
    "signing.find_device": by("signing.devices", "id"),
    "signing.next_ids": NOTHING,
    "signing.rehash": PINS,
    "signing.release": by("signing.attempts", "id"),
    "signing.remove_spent_challenges": by("signing.spent_challenges", "expires_at_us")
    | first("signing.spent_challenges", "expires_at_us")
    | by("signing.spent_challenges", "challenge"),
    "signing.reset_pin": PINS,
    "signing.revoke_device": by("signing.devices", "id"),
    "signing.revoke_devices": by("signing.devices", "id") | by("signing.devices", "user_id"),
    "signing.spend_challenge": NOTHING,
    "signing.spend_enrolment": NOTHING,
    "signing.unlock": COUNTERS,
    "security_events.write_for_services": NOTHING,
    "security_events.write_for_signing": NOTHING,
    "signing.abandon": by("signing.attempts", "user_id"),
    "signing.act_as": NOTHING,
    "signing.add_counter": NOTHING,
    # Whether it may read them: the first row of each is enough.
    "signing.check_ready": whole(
        "signing.attempt_counters",
        "signing.attempts",
        "signing.authorizations",
        "signing.pins",
        "signing.devices",
        "signing.spent_challenges",
    ),
    "signing.clear_counter": COUNTERS,
    "signing.decide": by("signing.attempts", "id"),
    "signing.enrol": PINS,
    "signing.find_authorization": APPROVALS,
    # Keys are few: all that were ever in use.
    "signing.find_missing_keys": whole("signing.known_keys"),
    "signing.find_enrolment": PINS,
    "signing.know_keys": by("signing.known_keys", "id"),
    "signing.lock_counter": COUNTERS,
    "signing.read_attempt": by("signing.attempts", "id"),
    "signing.read_situation": by("signing.attempts", "proof")
    | by("signing.attempts", "user_id")
    | PINS,
    "signing.record_authorization": APPROVALS,
    "signing.remove_stale": by("signing.attempts", "fresh_until_us")
    | first("signing.attempts", "fresh_until_us")
    | by("signing.attempts", "proof"),
    "signing.reserve": NOTHING,
    # What the function reads is of the users named.
    "signing.reserve_each": NOTHING,
    "signing.save_counter": COUNTERS,
    "signing.use_keys": by("signing.keys_in_use", "purpose"),
    "stream.fill_from": FIRST_OF_JOURNAL,
    "stream.items_before": JOURNAL,
    "stream.items_in": by("ledger.journal", "xid"),
    "stream.last_event": JOURNAL | FIRST_OF_JOURNAL,
    "stream.load_declines": DECLINES | ACCOUNTS,
    "stream.load_transfers": TRANSFERS | ACCOUNTS,
    "transactions.begin": FRAME,
    "transactions.commit": FRAME,
    "transactions.epoch": NOTHING,
    "transactions.journal_has": JOURNAL,
    "transactions.roll_back": FRAME,
    "transactions.transaction_status": NOTHING,
    "velocity.forget_touches": first("ledger.device_touches", "seen_us")
    | by("ledger.device_touches", "device"),
    # What the function reads is of one device.
    "velocity.touch_each": NOTHING,
    "velocity.touch_together": NOTHING,
    "verify.count_transfers": VERIFICATION,
    "verify.newest_position": first("ledger.journal", "xid", "id"),
    "verify.prepare": FRAME,
    "verify.share_snapshot": NOTHING,
    "verify.slice_bounds": VERIFICATION,
    "verify.snapshot": NOTHING,
    "verify.snapshot_position": by("ledger.journal", "xid") | first("ledger.journal", "xid", "id"),
    "verify.totals": VERIFICATION,
    "verify_enforcement.check_constraints": NOTHING,
    "verify_enforcement.check_functions": NOTHING,
    "verify_enforcement.check_legal_children": VERIFICATION,
    "verify_enforcement.check_partitions": NOTHING,
    "verify_enforcement.check_rights": NOTHING,
    "verify_enforcement.check_triggers": NOTHING,
    "verify_entries.check_chains": VERIFICATION,
    "verify_entries.check_held": VERIFICATION,
    "verify_entries.check_limits": VERIFICATION,
    "verify_entries.check_sums": VERIFICATION,
    "verify_outcomes.check_account_outcomes": VERIFICATION,
    "verify_outcomes.check_group_positions": VERIFICATION,
    "verify_outcomes.check_key_uniqueness": VERIFICATION,
    "verify_outcomes.check_outcomes": VERIFICATION,
    "verify_since.allow_record": FRAME,
    "verify_since.check_fresh_chains": VERIFICATION,
    "verify_since.check_fresh_key_uniqueness": VERIFICATION,
    "verify_since.check_fresh_outcomes": VERIFICATION,
    "verify_since.find_fresh": VERIFICATION,
    "verify_since.last_verification": first("ledger.verifications", "id"),
    "verify_since.older_parents": VERIFICATION,
    "verify_since.record": NOTHING,
    "verify_transfers.check_authorizations": VERIFICATION,
    "verify_transfers.check_erasures": VERIFICATION,
    "verify_transfers.check_details": VERIFICATION,
    "verify_transfers.check_families": VERIFICATION,
    "verify_transfers.check_groups": VERIFICATION,
    "verify_transfers.check_sides": VERIFICATION,
    "watch.account_now": ACCOUNTS | FIRST_OF_JOURNAL,
    "watch.begin_tail": FIRST_OF_JOURNAL,
    "watch.declines_between": by("ledger.declines", "debit_account", "xid", "id") | DETAILS,
    "watch.entries_between": ENTRIES | DETAILS,
    "watch.entry_time": ENTRIES,
    "watch.first_entry_after": ENTRIES,
    "watch.follow_journal": JOURNAL | FIRST_OF_JOURNAL,
    "watch.journal_time_at": FIRST_OF_JOURNAL,
    "watch.watched_account": ACCOUNTS,
    "watch.watched_declines": DECLINES | DETAILS,
    "watch.watched_transfers": TRANSFERS | DETAILS,
    "webhook_deliveries.add_deliveries": NOTHING,
    "webhook_deliveries.any_before": BOUNDED,
    "webhook_deliveries.enabled_subscriptions": BOUNDED,
    "webhook_deliveries.give_up": SUBSCRIPTIONS,
    # One step for each subscription of which something is pending.
    "webhook_deliveries.lease": by("webhooks.deliveries", "subscription", "due_at_us")
    | DELIVERY
    | SUBSCRIPTIONS,
    "webhook_deliveries.newest_revision": first("webhooks.subscriptions", "revision"),
    "webhook_deliveries.overfull": by("webhooks.deliveries", "subscription")
    | whole("webhooks.subscriptions"),
    "webhook_deliveries.prune": DELIVERY,
    "webhook_deliveries.put_back": DELIVERY,
    "webhook_deliveries.reading_grants": NOTHING,
    "webhook_deliveries.record": DELIVERY,
    "webhook_deliveries.say_why": NOTHING,
    "webhook_deliveries.take_turn": NOTHING,
    "webhook_deliveries.told_accounts": ACCOUNTS,
    "webhooks.add_secret": NOTHING,
    "webhooks.add_subscription": NOTHING,
    "webhooks.count_enabled": by("webhooks.subscriptions", "client"),
    "webhooks.count_signing": by("webhooks.secrets", "subscription"),
    "webhooks.disable": SUBSCRIPTIONS,
    "webhooks.drop_ended_secrets": by("webhooks.secrets", "subscription"),
    "webhooks.enable": SUBSCRIPTIONS,
    "webhooks.end_secrets": by("webhooks.secrets", "subscription"),
    # Here each subscription has one: any index of its own will do.
    "webhooks.find_deliveries_of_event": by("webhooks.deliveries", "subscription"),
    "webhooks.find_delivery": DELIVERY | SUBSCRIPTIONS,
    "webhooks.find_secret": by("webhooks.secrets", "id"),
    "webhooks.find_subscription": SUBSCRIPTIONS,
    "webhooks.last_attempts": by("webhooks.attempts", "delivery"),
    "webhooks.list_deliveries": by("webhooks.deliveries", "subscription", "id"),
    "webhooks.list_deliveries_in_state": by("webhooks.deliveries", "subscription", "state", "id"),
    "webhooks.list_subscriptions": by("webhooks.subscriptions", "client", "id"),
    "webhooks.replay_dead": by("webhooks.deliveries", "subscription", "state") | DELIVERY,
    "webhooks.replay_one": DELIVERY,
    "webhooks.take_turn": NOTHING,
    "verify_transfers.read_group_legs": TRANSFERS | by("ledger.transfer_groups", "id"),
    "verify_transfers.read_authorizations": by("ledger.authorizations", "id")
    | first("ledger.authorizations", "id")
    | TRANSFERS,
}
"""File and query, and how it gets at its rows."""

WHOLE_HISTORY: Mapping[str, int | None] = {
    "above": 0,
    "versions": 2**62,
    "lowest_id": 0,
    "id_span": 2**62,
    "start_us": 0,
    "before_us": 2**62,
    "before_id": 0,
    "kinds": None,
    "counterparty": None,
    "min_amount": None,
    "max_amount": None,
    "reference": None,
}
"""All of an account's, by no filter. With one made-up value for all an account is its own
counterparty, which the planner sees."""

WHOLE_TRAIL = dict.fromkeys(
    ("events", "client", "user_id", "device_id", "device_hint", "ip_address", "address_hint",
     "subject")
) | {"from_us": 0, "until_us": 2**63 - 1, "before_us": 2**63 - 1}  # fmt: skip
"""The newest of all: of what was never seen there are few, which may as well be sorted."""

KNOWN_TO_BE_FEW = {
    "history.list_entries": BOTH_SIDES | DETAILS,
    "history.list_transfers": BOTH_SIDES
    | by("ledger.transfers", "credit_account", "created_at_us")
    | ACCOUNTS
    | DETAILS,
}
"""What is expected where the planner knows the account, which has one entry here: nothing is in the
way of sorting it."""

GIVEN = {
    "audit.trail": WHOLE_TRAIL,
    "history.count_transfers": WHOLE_HISTORY,
    "events.drop_services_events": {"most": 1_000},
    "events.drop_signing_events": {"most": 1_000},
    "history.list_declines": WHOLE_HISTORY,
    "history.list_entries": WHOLE_HISTORY,
    "history.list_transfers": WHOLE_HISTORY,
}

QUERIES = {
    f"{name}.{query.name}": query
    for name in queries.files()
    for query in queries.named_queries(name)
}


@pytest.fixture(scope="module")
def full(endpoints: Endpoints, template: str) -> Iterator[tuple[psycopg.Connection, list[int]]]:
    """A superuser's connection to a database full of rows, and their ids."""
    with own_database(endpoints, template) as own:
        ids = fill(own.admin_dsn)
        with psycopg.connect(own.admin_dsn, autocommit=True) as connection:
            yield connection, ids


@pytest.fixture(params=BATCHES)
def planner(full: tuple[psycopg.Connection, list[int]], request: pytest.FixtureRequest) -> Planner:
    connection, ids = full
    return Planner(connection, ids[len(ids) // 3 :][: request.param])


def test_every_query_is_expected_to_do_something() -> None:
    assert set(QUERIES) == set(EXPECTED)


def given_values(name: str) -> dict[int, int | None]:
    """What GIVEN says of a query, by place of the parameter."""
    given = GIVEN.get(name, {})
    parameters = QUERIES[name].parameters
    return {place: given[key] for place, key in enumerate(parameters) if key in given}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(QUERIES.keys() & EXPECTED.keys()))
def test_a_query_gets_at_its_rows_as_expected(planner: Planner, name: str, mode: PlanMode) -> None:
    query, expected = QUERIES[name], EXPECTED[name]
    if not expected.planned:
        with pytest.raises(psycopg.errors.SyntaxError):
            planner.accesses(query.sql, mode)
        return
    if mode == "force_custom_plan":
        expected = KNOWN_TO_BE_FEW.get(name, expected)
    accesses = planner.accesses(query.sql, mode, given_values(name))
    assert expected.faults(accesses) == [], accesses


def test_what_is_large_here_has_as_many_rows(full: tuple[psycopg.Connection, list[int]]) -> None:
    connection, ids = full
    assert len(ids) == ROWS
    for table in ("ledger.accounts", "ledger.transfers", "ledger.journal", "signing.attempts"):
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row == (ROWS,), table


@pytest.mark.parametrize("name", sorted(KNOWN_TO_BE_FEW))
def test_a_busy_accounts_history_is_followed_until_there_is_enough(
    full: tuple[psycopg.Connection, list[int]], planner: Planner, name: str
) -> None:
    connection, ids = full
    account = ids[len(ids) // 3]
    with connection.transaction(force_rollback=True):
        connection.execute(
            "UPDATE ledger.transfers SET debit_account = %s, credit_account = %s,"
            " credit_version = CASE WHEN id %% 3000 > 0 THEN credit_version END",
            (account, account),
        )
        connection.execute("ANALYZE ledger.transfers")
        accesses = planner.accesses(QUERIES[name].sql, "force_custom_plan", given_values(name))
    assert EXPECTED[name].faults(accesses) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_query_without_its_index_is_found_out(
    full: tuple[psycopg.Connection, list[int]], planner: Planner, mode: PlanMode
) -> None:
    connection, _ = full
    with connection.transaction(force_rollback=True):
        connection.execute("ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_pkey CASCADE")
        accesses = planner.accesses(QUERIES["posting.lock_accounts"].sql, mode)
    assert ACCOUNTS.faults(accesses) == [
        "ledger.accounts is not searched by ('id',)",
        "ledger.accounts is read whole",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_search_that_no_index_helps_is_found_out(planner: Planner, mode: PlanMode) -> None:
    accesses = planner.accesses("SELECT id FROM ledger.transfers WHERE amount = $1 LIMIT 9", mode)
    assert set(NOTHING.faults(accesses)) == {"ledger.transfers is read whole"}

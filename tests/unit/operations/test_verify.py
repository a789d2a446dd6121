"""Findings add up by rule; what is expected of the tables is what the migrations made of them."""

from typer.testing import CliRunner

from operations.cli.app import app
from operations.verify.guards import WRITERS, declared_functions, declared_triggers, enforcement
from operations.verify.rules import RULES
from operations.verify.tally import Finding, Tally
from paycore.domain.position import Position


def test_findings_of_a_rule_add_up_and_the_first_is_of_the_earliest_step() -> None:
    tally = Tally()
    tally.add(2, [Finding("keys", 10, 1, {"id": 2})])
    tally.add(1, [Finding("keys", 5, 3, {"id": 1}), Finding("sums", 1, 0)])
    tally.add(3, [Finding("keys", 1, 1, {"id": 3})])
    sums, keys = tally.checks()
    assert (sums.rule, sums.examined, sums.held) == (RULES["sums"].text, 1, True)
    assert (keys.examined, keys.violations, keys.first_violation) == (16, 5, {"id": 1})


def test_a_function_is_expected_to_be_as_it_was_last_defined() -> None:
    functions = declared_functions()
    assert {"refuse_change", "apply_transfers", "check_children", "reduce_holds"} <= set(functions)
    assert "does not allow" in functions["refuse_change"]


def test_every_table_that_only_grows_has_its_guard() -> None:
    triggers = {(table, name): definition for table, name, definition in declared_triggers()}
    for table in WRITERS:
        # What was stored plain may be sealed.
        changes = "DELETE" if table == "transfer_details" else "DELETE OR UPDATE"
        assert triggers[table, "append_only"] == (
            f"CREATE TRIGGER append_only BEFORE {changes} OR TRUNCATE ON %"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()"
        )
    assert ("transfers", "apply_transfers") in triggers
    assert ("transfer_details", "only_sealed") in triggers
    assert ("accounts", "only_by_transfers") in triggers


def test_every_rule_about_the_tables_is_reported() -> None:
    assert {name.removeprefix("check_") for name in enforcement()} <= set(RULES)


def test_a_verification_begins_at_one_place() -> None:
    position = Position(1, 2, 3).encode()
    both = CliRunner().invoke(app, ["verify", "--since-last", "--since", position])
    assert both.exit_code == 2
    assert "exclude each other" in both.output
    wrong = CliRunner().invoke(app, ["verify", "--since", "yesterday"])
    assert wrong.exit_code == 2
    assert "not a position" in wrong.output

import dataclasses

import pytest

from vladata.checks import run_dataset_checks
from vladata.finding import Severity
from vladata.recording import Instruction, Outcome
from vladata.testing.builders import START_NS, build_embodiment, build_episode
from vladata.testing.facts import CountedFacts, build_fact, facts_of

S = 1_000_000_000


class TestInstruction:
    def test_missing_instruction_is_an_error(self, judge):
        (finding,) = judge(build_episode(instructions=()), "labels.instruction")
        assert finding.severity is Severity.ERROR
        assert finding.message == "no task instruction; there must be one"

    def test_subtasks_are_no_task(self, judge):
        (finding,) = judge(
            build_episode(instructions=(Instruction(text="reach", kind="subtask"),)), "labels.instruction"
        )
        assert finding.message == "no task instruction; it has 1 texts of other kinds; there must be one"

    def test_empty_instruction_is_an_error(self, judge):
        (finding,) = judge(build_episode(instructions=(Instruction(text=" \n"),)), "labels.instruction")
        assert finding.message == "the task instruction is empty; it must be a text"

    def test_an_instruction_passes(self, judge):
        assert judge(build_episode(), "labels.instruction") == []


class TestPlaceholder:
    @pytest.mark.parametrize(
        "text",
        [
            "TODO",
            "n/a",
            "<instruction>",
            "{task}",
            "pick up the {object}",
            "Task description.",
            "none",
            "??",
            "12",
            "no_task",
            "do the task",
            "Task 3",
        ],
    )
    def test_placeholders_are_found(self, judge, text):
        (finding,) = judge(build_episode(instructions=(Instruction(text=text),)), "labels.placeholder")
        assert finding.severity is Severity.WARNING
        assert repr(text) in finding.message

    @pytest.mark.parametrize(
        "text",
        [
            "pick",
            "test the switch",
            "do the dishes",
            "run 3 laps",
            "把红色方块放进盒子",
            "put (carefully) the [red] cube",
            "拿",
        ],
    )
    def test_instructions_pass(self, judge, text):
        assert judge(build_episode(instructions=(Instruction(text=text),)), "labels.placeholder") == []

    def test_text_from_a_file_is_made_printable(self, judge):
        (finding,) = judge(
            build_episode(
                instructions=(
                    Instruction(text="\x1b[31mtodo\x1b[0m ?"),
                    Instruction(text="<\x1b]0;x\x07>"),
                )
            ),
            "labels.placeholder",
        )
        assert "\x1b" not in finding.message


class TestOddCharacters:
    def test_wrongly_decoded_text_is_shown_with_what_it_was(self, judge):
        (finding,) = judge(
            build_episode(instructions=(Instruction(text="pick up the caf\u00c3\u00a9 cup"),)), "labels.odd_characters"
        )
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "instruction 'pick up the cafÃ© cup' has UTF-8 read as Latin-1 (it was probably 'pick up the café cup'); "
            "it must be plain text"
        )

    @pytest.mark.parametrize(
        ("text", "problem", "shown"),
        [
            ("pick\x07 up", "control character U+0007", r"pick\x07 up"),
            ("pick\u200bup", "invisible character U+200B", r"pick\u200bup"),
            ("pick \u202epu", "invisible character U+202E", r"pick \u202epu"),
            ("caf\ufffd", "replacement character U+FFFD", r"caf\ufffd"),
            ("\ue000", "private character U+E000", r"\ue000"),
            ("it\u00e2\u20ac\u2122s", "UTF-8 read as Latin-1 (it was probably 'it’s')", "itâ€™s"),
            ("\u00d0\u00bf\u00d1\u20ac", "UTF-8 read as Latin-1 (it was probably 'пр')", "Ð¿Ñ€"),
        ],
    )
    def test_odd_characters_are_found_and_shown_as_escapes(self, judge, text, problem, shown):
        texts = (Instruction(text="fine"), Instruction(text=text, kind="subtask"))
        (finding,) = judge(build_episode(instructions=texts), "labels.odd_characters")
        assert problem in finding.message
        assert f"'{shown}'" in finding.message

    @pytest.mark.parametrize(
        "text",
        [
            "pick up the café cup", "don’t spill", "把红色方块放进盒子", "привет", "می\u200cخواهم", "שלום\u200f!",
            "wave at the 👨\u200d👩\u200d👧", "„Spaß“ haben", "NÃO TOQUE", "FØR PÅ”", "first\n second\t", "",
        ],
    )  # fmt: skip
    def test_texts_of_any_language_pass(self, judge, text):
        assert judge(build_episode(instructions=(Instruction(text=text),)), "labels.odd_characters") == []


class TestOutcome:
    def test_missing_outcome_is_a_note(self, judge):
        (finding,) = judge(build_episode(outcomes=(Outcome(kind="reward", value=1.0),)), "labels.outcome")
        assert finding.severity is Severity.INFO

    def test_failure_is_an_outcome(self, judge):
        assert judge(build_episode(outcomes=(Outcome(kind="failure", reason="slipped"),)), "labels.outcome") == []


class TestContradiction:
    def test_success_and_failure_of_the_whole_episode_contradict(self, judge):
        both = (Outcome(kind="success"), Outcome(kind="failure"))
        (finding,) = judge(build_episode(outcomes=both), "labels.contradiction")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "the episode is marked success and failure; it must be one of them (the last marker counts: failure)"
        )

    def test_success_after_a_failed_try_is_no_contradiction(self, judge):
        tries = (Outcome(kind="failure", time_ns=START_NS), Outcome(kind="success", time_ns=START_NS + S))
        assert judge(build_episode(outcomes=tries), "labels.contradiction") == []

    @pytest.mark.parametrize(
        ("success", "failure", "is_wrong"),
        [
            ((0, 5), (3, 8), True),
            ((0, 5), (3, None), True),
            ((0, 5), (5, 8), False),
            ((None, None), (3, 8), False),  # a failed try on the way to success
            ((2, None), (2, None), True),
        ],
    )
    def test_times_that_overlap_contradict(self, judge, success, failure, is_wrong):
        marks = [
            Outcome(
                kind=kind,
                time_ns=None if start is None else START_NS + start * S,
                end_ns=None if end is None else START_NS + end * S,
            )
            for kind, (start, end) in (("success", success), ("failure", failure))
        ]
        found = judge(build_episode(duration_s=10.0, outcomes=tuple(marks)), "labels.contradiction")
        assert [f.check for f in found] == ["labels.contradiction"] * is_wrong

    def test_success_with_the_reason_of_a_failure_contradicts(self, judge):
        (finding,) = judge(
            build_episode(outcomes=(Outcome(kind="success", reason="dropped the cube"),)), "labels.contradiction"
        )
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "success has the reason 'dropped the cube', which tells of a failure; kind and reason must agree"
        )

    @pytest.mark.parametrize(
        "reason",
        [
            "grasp failed", "timed out", "collision with the table", "did not reach the bin", "the cup fell", "gave up",
            "never reached the bin", "cube was not placed", "not successful", "dropped_object", "wrong object",
            "Failure: object slipped out of the gripper", "unable to open the drawer",
        ],
    )  # fmt: skip
    def test_reasons_that_name_a_failure_are_found(self, judge, reason):
        marks = (Outcome(kind="success", reason=reason),)
        assert len(judge(build_episode(outcomes=marks), "labels.contradiction")) == 1

    @pytest.mark.parametrize(
        "reason",
        [
            "", "grasped after two tries", "no collision", "without dropping it", "recovered after dropping the cube",
            "dropped into the box", "never slipped", "succeeded after a failed grasp", "completed within timeout",
            "missed on the first attempt, then fine", "did not drop",
        ],
    )  # fmt: skip
    def test_reasons_of_a_success_pass(self, judge, reason):
        marks = (Outcome(kind="success", reason=reason),)
        assert judge(build_episode(outcomes=marks), "labels.contradiction") == []

    def test_failure_with_the_reason_of_a_success_contradicts(self, judge):
        marks = (Outcome(kind="failure", reason="completed successfully"),)
        (finding,) = judge(build_episode(outcomes=marks), "labels.contradiction")
        assert "failure has the reason 'completed successfully', which tells of a success" in finding.message
        partly = (Outcome(kind="failure", reason="partially completed"),)
        assert judge(build_episode(outcomes=partly), "labels.contradiction") == []


class TestOpenIntervention:
    def test_an_intervention_without_an_end_is_found(self, judge):
        marks = (Outcome(kind="success"), Outcome(kind="intervention", time_ns=START_NS + S))
        (finding,) = judge(build_episode(outcomes=marks), "labels.open_intervention")
        assert finding.severity is Severity.WARNING
        assert finding.message == ("an intervention at 1.00 s has no end; it must say until when the human acted")

    def test_an_intervention_with_an_end_and_one_of_the_whole_episode_pass(self, judge):
        marks = (
            Outcome(kind="intervention", time_ns=START_NS, end_ns=START_NS + S),
            Outcome(kind="intervention"),
            Outcome(kind="success", time_ns=START_NS + S),
        )
        assert judge(build_episode(outcomes=marks), "labels.open_intervention") == []


class TestOutside:
    @pytest.mark.parametrize(
        ("label", "reason"),
        [
            (Instruction(text="wipe", time_ns=START_NS + 5 * S), "begins 3 s after the last step"),
            (Instruction(text="wipe", kind="subtask", time_ns=START_NS - 5 * S, end_ns=START_NS - S),
             "ends 1 s before the first step"),
            (Instruction(text="wipe", time_ns=START_NS + S, end_ns=START_NS), "ends 1 s before it begins"),
            (Outcome(kind="segment", time_ns=START_NS + 3 * S), "begins 1 s after the last step"),
            (Outcome(kind="success", time_ns=START_NS - S), "comes 1 s before the first step"),
            (Outcome(kind="success", time_ns=START_NS + 65 * S), "begins 63 s after the last step"),
        ],
    )  # fmt: skip
    def test_labels_outside_the_steps_are_found(self, judge, label, reason):
        is_text = isinstance(label, Instruction)
        episode = build_episode(instructions=(label,)) if is_text else build_episode(outcomes=(label,))
        (finding,) = judge(episode, "labels.outside")
        assert reason in finding.message
        assert finding.location == ("/instructions" if is_text else "/outcomes")

    def test_a_task_from_before_and_a_judgement_from_after_pass(self, judge):
        episode = build_episode(
            instructions=(Instruction(text="put it there", time_ns=START_NS - 5 * S),),
            outcomes=(Outcome(kind="success", time_ns=START_NS + 4 * S), Outcome(kind="quality", value=3.0)),
        )
        assert judge(episode, "labels.outside") == []


def judged(facts, check):
    return [f for f in run_dataset_checks(facts, select=[check]) if f.check == check]


class TestMissingOutcome:
    def test_the_one_of_ten_without_an_outcome_is_named(self):
        facts = [build_fact(i, outcome="" if i == 4 else "success") for i in range(10)]
        (finding,) = judged(facts, "labels.missing_outcome")
        assert finding.severity is Severity.WARNING
        assert finding.episode_id == "e4"
        assert finding.message == (
            "no outcome, where 9 of 10 episodes of the dataset have one; it must say success or failure"
        )

    def test_datasets_without_outcomes_or_with_few_pass(self):
        assert judged([build_fact(i, outcome="") for i in range(10)], "labels.missing_outcome") == []
        assert judged([build_fact(i, outcome="success" * (i % 2)) for i in range(10)], "labels.missing_outcome") == []
        assert judged([build_fact(i, outcome="failure") for i in range(10)], "labels.missing_outcome") == []
        assert judged([], "labels.missing_outcome") == []


class TestSimilarSpellings:
    FREQUENT = "pick up the cup"

    def facts(self, rare, frequent=FREQUENT):
        return [build_fact(i, instruction=rare if i == 6 else frequent) for i in range(10)]

    def test_a_typing_error_in_one_of_ten_is_found(self):
        (finding,) = judged(self.facts("pick up teh cup"), "labels.similar_spellings")
        assert finding.severity is Severity.WARNING
        assert finding.episode_id == "e6"
        assert finding.message == (
            "instruction 'pick up teh cup' (1 episode) differs from 'pick up the cup' (9 episodes) only by 'teh' for "
            "'the'; one task must be written in one way"
        )

    @pytest.mark.parametrize(
        ("rare", "difference"),
        [
            ("Pick up the cup", "capital letters"),
            ("pick  up the cup ", "spaces"),
            ("pick up the cup.", "punctuation"),
            ("pickup the cup", "spaces or a word written twice"),
            ("pick up the the cup", "spaces or a word written twice"),
            ("pcik up the cup", "'pcik' for 'pick'"),
            ("pick up the cuup", "'cuup' for 'cup'"),
        ],
    )
    def test_ways_to_write_the_same_are_named(self, rare, difference):
        (finding,) = judged(self.facts(rare), "labels.similar_spellings")
        assert f"only by {difference}; " in finding.message

    def test_spaces_are_no_style_however_often_they_are_written(self):
        facts = [build_fact(i, instruction=self.FREQUENT + " " * (i % 2)) for i in range(10)]
        (finding,) = judged(facts, "labels.similar_spellings")
        assert finding.message == (
            "instruction 'pick up the cup ' (5 episodes) differs from 'pick up the cup' (5 episodes) only by spaces; "
            "one task must be written in one way"
        )
        facts = [build_fact(i, instruction=self.FREQUENT + "." * (i % 2)) for i in range(10)]
        assert judged(facts, "labels.similar_spellings") == []

    def test_two_errors_are_found_in_a_long_word(self):
        facts = self.facts("open the micorwve door", "open the microwave door")
        assert len(judged(facts, "labels.similar_spellings")) == 1

    @pytest.mark.parametrize(
        ("rare", "difference"),
        [
            ("pcik up teh cup", "'pcik' for 'pick', 'teh' for 'the'"),
            ("pcik up teh cuup", "'pcik' for 'pick', 'teh' for 'the', 'cuup' for 'cup'"),
            ("pick up hhte cup", "'hhte' for 'the'"),
            ("pcik up the cap", "'pcik' for 'pick', 'cap' for 'cup'"),
        ],
    )
    def test_errors_in_several_words_are_found(self, rare, difference):
        (finding,) = judged(self.facts(rare), "labels.similar_spellings")
        assert f"only by {difference}; " in finding.message

    def test_two_errors_in_a_word_are_found_where_they_bring_no_other_letter(self):
        (finding,) = judged(self.facts("lift the spnoe", "lift the sponge"), "labels.similar_spellings")
        assert "'spnoe' for 'sponge'" in finding.message
        assert judged(self.facts("lift the cattle", "lift the kettle"), "labels.similar_spellings") == []

    @pytest.mark.parametrize(
        ("rare", "frequent"),
        [
            ("pick up the red cup", "pick up the bed cup"),
            ("put the peag into the zzop", "put the bear into the shop"),
            ("pcik teh cuup frm here", "pick the cup from here"),
            ("pick up the cups", "pick up the cup"),
            ("pick up the pen", "pick up the pan"),
            ("pick up the cob", "pick up the cub"),
            ("kick up the cap", "pick up the cup"),
            ("pcik up the cups", "pick up the cup"),
            ("press button 2", "press button 1"),
            ("press button 12", "press button 11"),
            ("move block A", "move block B"),
            ("lift the lid", "left the lid"),
            ("put the cup on the plate", "put the cup in the plate"),
            ("拿起杯子", "拿起盘子"),
            ("", "pick up the cup"),
            ("turn the screw", "pick up the cup"),
        ],
    )
    def test_different_tasks_pass(self, rare, frequent):
        assert judged(self.facts(rare, frequent), "labels.similar_spellings") == []

    def test_a_word_that_other_instructions_have_is_meant(self):
        facts = [*self.facts("pick up the blok", "pick up the block"), build_fact(20, instruction="wipe the blok")]
        assert judged(facts, "labels.similar_spellings") == []

    def test_two_spellings_that_are_both_frequent_pass(self):
        facts = [build_fact(i, instruction="pick up the cup" + "." * (i % 2)) for i in range(10)]
        assert judged(facts, "labels.similar_spellings") == []

    def test_all_episodes_of_the_rare_spelling_are_named(self):
        facts = [build_fact(i, instruction="pick up teh cup" if i < 2 else "pick up the cup") for i in range(20)]
        (finding,) = judged(facts, "labels.similar_spellings")
        assert (finding.episode_id, finding.others) == ("e0", ("e1",))
        assert "(2 episodes)" in finding.message

    def test_thousands_of_instructions_are_gone_through_a_fixed_number_of_times(self):
        texts = [f"put the {a}{b} thing into place {c}" for a in "bcdfg" for b in "aeiou" for c in range(40)]
        facts = CountedFacts([build_fact(i, instruction=texts[i % len(texts)]) for i in range(2000)])
        assert judged(facts, "labels.similar_spellings") == []
        assert facts.passes <= 3


def moving(number, *, mirrored=False):
    """An episode of one of two behaviours: joints move a bit differently each time, or the other way."""
    sign = -1.0 if mirrored else 1.0

    def change(values):
        values = values.copy()
        values[:, :3] = values[:, :3] * sign * (1 + 0.02 * number)
        values[:, 0] += sign * 0.8
        return values

    return build_episode(
        build_embodiment(cameras=()), values={"arm": change, "command": change}, place=f"demo_{number}.mcap"
    )


class TestManyBehaviours:
    def test_two_behaviours_under_one_instruction_are_found(self):
        facts = [facts_of(moving(i, mirrored=i >= 5)) for i in range(10)]
        (finding,) = judged(facts, "labels.many_behaviours")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith(
            "the motions of instruction 'put the cube into the bin' fall into two separate groups of 5 and 5 episodes "
            "(mean silhouette 0."
        )
        assert set(finding.others) == {f.episode_id for f in facts}
        assert {*finding.others[:5]} in ({f.episode_id for f in facts[:5]}, {f.episode_id for f in facts[5:]})

    def test_two_instructions_for_two_behaviours_pass(self):
        facts = [facts_of(moving(i, mirrored=i >= 5), instruction=f"task {i >= 5}") for i in range(10)]
        assert judged(facts, "labels.many_behaviours") == []

    def test_one_behaviour_passes_and_so_does_a_single_odd_episode(self):
        assert judged([facts_of(moving(i)) for i in range(10)], "labels.many_behaviours") == []
        assert judged([facts_of(moving(i, mirrored=i == 0)) for i in range(10)], "labels.many_behaviours") == []

    def test_copies_are_no_group_of_their_own(self):
        facts = [facts_of(moving(i % 2), episode_id=str(i)) for i in range(10)]
        assert judged(facts, "labels.many_behaviours") == []

    def test_facts_without_measurements_pass(self):
        facts = [dataclasses.replace(facts_of(moving(i)), features={}) for i in range(8)]
        assert judged([*facts, *map(build_fact, range(8))], "labels.many_behaviours") == []

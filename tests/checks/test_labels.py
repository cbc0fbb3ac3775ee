import pytest

from vladata.finding import Severity
from vladata.recording import Instruction, Outcome
from vladata.testing.builders import START_NS, build_episode

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
        "text", ["TODO", "n/a", "<instruction>", "{task}", "Task description.", "none", "??", "12", "no_task"]
    )
    def test_placeholders_are_found(self, judge, text):
        (finding,) = judge(build_episode(instructions=(Instruction(text=text),)), "labels.placeholder")
        assert finding.severity is Severity.WARNING
        assert repr(text) in finding.message

    @pytest.mark.parametrize(
        "text", ["pick", "test the switch", "把红色方块放进盒子", "put (carefully) the [red] cube", "拿"]
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

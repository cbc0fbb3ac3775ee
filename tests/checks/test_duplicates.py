import dataclasses

from vladata.checks import EpisodeFacts, run_dataset_checks
from vladata.finding import Severity

FACTS = EpisodeFacts(
    episode_id="a1",
    content_digest="5d0c" * 16,
    place="train#00003",
    instruction="put the carrot on the plate",
    outcome="",
    num_steps=10,
)


def test_episodes_of_equal_content_are_one_finding_that_names_them():
    other = dataclasses.replace(FACTS, episode_id="b2", place="val#00003")
    alone = dataclasses.replace(FACTS, episode_id="c3", content_digest="77" * 32)
    third = dataclasses.replace(FACTS, episode_id="d4", place="val#00009\x1b[2J", outcome="success")
    (finding,) = run_dataset_checks([FACTS, alone, other, third])
    assert finding.check == "duplicates.equal_content"
    assert finding.severity is Severity.WARNING
    assert finding.others == ("a1", "b2", "d4")
    assert finding.episode_id == ""
    assert finding.message == (
        "3 episodes hold the same demonstration, with different outcomes: train#00003, val#00003, val#00009 "
        "(content 5d0c5d0c5d0c); it counts as often in training, and all must be in one split"
    )


def test_groups_are_findings_of_their_own_in_the_datasets_order():
    facts = [
        dataclasses.replace(FACTS, episode_id=f"{i}{k}", content_digest=digest * 64)
        for i in "xy"
        for k, digest in enumerate("fa0")
    ]
    assert [f.others for f in run_dataset_checks(facts)] == [("x0", "y0"), ("x1", "y1"), ("x2", "y2")]


def test_different_content_passes():
    facts = [dataclasses.replace(FACTS, episode_id=str(i), content_digest=f"{i:064x}") for i in range(5)]
    assert run_dataset_checks(facts) == []
    assert run_dataset_checks([]) == []

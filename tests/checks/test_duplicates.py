import dataclasses

import numpy as np

from vladata.checks import EpisodeFacts, run_dataset_checks
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode, build_frames
from vladata.testing.facts import CountedFacts, build_fact, facts_of

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


ARM = build_embodiment(cameras=())


def judged(facts, check):
    return [f for f in run_dataset_checks(facts, select=[check]) if f.check == check]


def demonstration(number, **knobs):
    """Facts of a demonstration unlike the others: the phases of its joints come from its number."""
    changes = {k: knobs.pop(k) for k in ("split", "episode_id", "recording_id", "content_digest") if k in knobs}
    embodiment = knobs.pop("embodiment", ARM)
    episode = build_episode(embodiment, seed=number, place=f"demo_{number:03}.mcap", **knobs)
    return facts_of(episode, **{"split": "train", **changes})


def trimmed(number, start, stop, **knobs):
    """A copy that begins and ends elsewhere."""
    copy = {"episode_id": "copy", "recording_id": "other", "content_digest": "c0" * 32}
    return demonstration(number, steps=lambda s: s.between(start, stop), **{**copy, **knobs})


class TestNearContent:
    def test_a_copy_with_three_steps_cut_off_and_frames_encoded_anew_is_found(self):
        camera = build_embodiment()
        new = {"front": lambda frames: build_frames(len(frames), seed=99)}
        facts = [demonstration(i, embodiment=camera) for i in range(4)]
        facts.append(trimmed(2, 3, 21, embodiment=camera, frames=new))
        (finding,) = judged(facts, "duplicates.near_content")
        assert finding.severity is Severity.WARNING
        assert finding.others == (facts[2].episode_id, "copy")
        assert finding.message == (
            "2 episodes hold nearly the same demonstration: demo_002.mcap, demo_002.mcap share about 100 % of their "
            "poses; it counts as often in training, and all must be in one split"
        )

    def test_copies_of_copies_are_one_group(self):
        facts = [demonstration(0), trimmed(0, 0, 18), trimmed(0, 3, 21, episode_id="b", content_digest="b0" * 32)]
        (finding,) = judged(facts, "duplicates.near_content")
        assert len(finding.others) == 3

    def test_every_second_sample_is_found(self):
        facts = [demonstration(i) for i in range(4)]
        exact = build_episode(ARM, seed=1).streams["arm"].values
        half = {"arm": lambda v: exact[::2][: len(v)]}
        facts.append(trimmed(1, 0, 21, rates_hz={"arm": 50.0}, values=half))
        assert len(judged(facts, "duplicates.near_content")) == 1

    def test_a_copy_with_noise_is_found_among_enough_others(self):
        def noisy(values):
            return values + np.random.default_rng(7).normal(0, 5e-4, values.shape)

        facts = [demonstration(i) for i in range(24)]
        facts.append(trimmed(5, 0, 21, values={"arm": noisy}))
        (finding,) = judged(facts, "duplicates.near_content")
        assert finding.others == (facts[5].episode_id, "copy")
        assert " went the same way; " in finding.message

    def test_exact_copies_are_left_to_equal_content(self):
        facts = [demonstration(1), demonstration(1, episode_id="copy")]
        assert judged(facts, "duplicates.near_content") == []
        assert len(judged(facts, "duplicates.equal_content")) == 1

    def test_different_demonstrations_pass(self):
        assert judged([demonstration(i) for i in range(24)], "duplicates.near_content") == []

    def test_a_common_pose_of_rest_is_no_copy(self):
        def rests(values):
            values[:150] = 0.0
            return values

        facts = [demonstration(i, values={"arm": rests}) for i in range(6)]
        assert judged(facts, "duplicates.near_content") == []

    def test_numbers_of_few_values_are_no_copies(self):
        """A vector of two coarse numbers passes the same pairs in most episodes, in another order."""
        flat = build_embodiment(num_joints=1, cameras=())
        coarse = {n: lambda v: np.round(v * 8) / 8 for n in ("arm", "command")}
        facts = [demonstration(i, embodiment=flat, values=coarse, duration_s=8.0) for i in range(8)]
        assert judged(facts, "duplicates.near_content") == []

    def test_many_copies_are_one_finding_and_take_no_pass_each(self):
        like = demonstration(0)
        facts = CountedFacts([build_fact(i, features=like.features) for i in range(500)])
        (finding,) = judged(facts, "duplicates.near_content")
        assert len(finding.others) == 500
        assert facts.passes <= 3


class TestAcrossSplits:
    def test_exact_and_near_copies_in_two_splits_are_one_finding(self):
        facts = [demonstration(i) for i in range(4)]
        facts += [trimmed(2, 3, 21, split="val"), demonstration(0, split="val", episode_id="same")]
        (finding,) = judged(facts, "duplicates.across_splits")
        assert finding.severity is Severity.ERROR
        assert set(finding.others) == {facts[0].episode_id, "same", facts[2].episode_id, "copy"}
        assert finding.magnitude == 2
        assert finding.message == (
            "2 demonstrations lie in each of the splits train, val: demo_000.mcap = demo_000.mcap, "
            "demo_002.mcap = demo_002.mcap; what is measured on one split must not be known from another"
        )

    def test_one_recording_in_two_splits_is_found(self):
        facts = [build_fact(i, recording_id="r", split=s) for i, s in enumerate(["train", "test"])]
        (finding,) = judged(facts, "duplicates.across_splits")
        assert finding.message.startswith("1 demonstration lies in each of the splits test, train: demo_000 = demo_001")

    def test_copies_within_one_split_and_datasets_without_splits_pass(self):
        facts = [demonstration(0), trimmed(0, 3, 21), demonstration(1, split="val")]
        assert judged(facts, "duplicates.across_splits") == []
        facts = [demonstration(0, split=""), trimmed(0, 3, 21, split="")]
        assert judged(facts, "duplicates.across_splits") == []
        facts = [demonstration(0, split=""), trimmed(0, 3, 21), demonstration(1, split="val")]
        assert judged(facts, "duplicates.across_splits") == []

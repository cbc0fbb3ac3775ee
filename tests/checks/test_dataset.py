import dataclasses

import numpy as np
import pytest

from vladata.checks import run_dataset_checks
from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.episode import Episode
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode
from vladata.testing.facts import CountedFacts, build_fact, facts_of
from vladata.units import Kind, Unit

ARM = build_embodiment(cameras=())


def judged(facts, check):
    return [f for f in run_dataset_checks(facts, select=[check]) if f.check == check]


def demonstration(number, *, change=lambda values: values, embodiment=ARM, duration_s=2.0) -> Episode:
    """An episode like others of its task: joints move a bit differently each time."""
    factor = 1 + 0.02 * (number % 7)

    def measured(values):
        values = values.copy()
        values[:, :3] *= factor
        return change(values)

    def commanded(values):
        values = values.copy()
        values[:, :3] *= factor
        return values

    return build_episode(
        embodiment,
        values={"arm": measured, "command": commanded},
        place=f"demo_{number:03}.mcap",
        duration_s=duration_s,
    )


class TestOutliers:
    def test_three_times_as_long_as_the_others_is_named_with_both_numbers(self):
        lengths = [9.1, 10.0, 10.4, 11.5, 9.7, 31.2, 10.9, 9.4, 10.2, 12.0]
        facts = [build_fact(i, duration_s=s) for i, s in enumerate(lengths)]
        (finding,) = judged(facts, "dataset.outliers")
        assert finding.severity is Severity.WARNING
        assert finding.episode_id == "e5"
        assert finding.message == (
            "takes 31.2 s; the other 9 episodes of 'put the cube into the bin' have 9.1 to 12 s (median 10.2 s)"
        )
        assert finding.magnitude == pytest.approx(3.03, abs=0.01)

    def test_steps_are_counted_where_no_time_is_known(self):
        facts = [build_fact(i, duration_s=0.0, num_steps=20 if i == 3 else 100 + i) for i in range(10)]
        (finding,) = judged(facts, "dataset.outliers")
        assert finding.message.startswith("takes 20 steps; the other 9 episodes of ")

    def test_lengths_of_people_pass(self):
        # Twice the spread of the hundred demonstrations of the Unitree G1: 0.3 in logarithms.
        rng = np.random.default_rng(5)
        facts = [build_fact(i, duration_s=float(s)) for i, s in enumerate(np.exp(rng.normal(2.4, 0.3, 100)))]
        assert judged(facts, "dataset.outliers") == []

    def test_few_episodes_and_other_tasks_pass(self):
        assert judged([build_fact(i, duration_s=90.0 if i == 3 else 10.0) for i in range(6)], "dataset.outliers") == []
        facts = [build_fact(i, duration_s=10.0) for i in range(10)]
        assert judged([*facts, build_fact(11, duration_s=60.0, instruction="set the table")], "dataset.outliers") == []

    def test_a_pose_that_no_other_has_is_named_with_its_dimension(self):
        def far(values):
            values[60:70, 1] = 57.3
            return values

        facts = [facts_of(demonstration(i, change=far if i == 4 else lambda v: v)) for i in range(10)]
        (finding,) = judged(facts, "dataset.outliers")
        assert finding.episode_id == facts[4].episode_id
        assert finding.location == "/streams/arm/values"
        assert finding.dimensions == ("joint_1",)
        assert finding.message.startswith("goes up to arm.joint_1 at 57.3 rad; the other 9 episodes of 'put the cube")

    def test_a_joint_that_is_off_its_command_in_one_episode_is_named(self):
        def off(values):
            values[:, 1] += 0.2
            return values

        facts = [facts_of(demonstration(i, change=off if i == 4 else lambda v: v)) for i in range(10)]
        (finding,) = judged(facts, "dataset.outliers")
        assert finding.episode_id == facts[4].episode_id
        assert finding.dimensions == ("joint_1",)
        assert finding.message.startswith("has measured minus commanded of arm.joint_1 at 0.")

        def little(values):
            values[:, 1] += 0.05
            return values

        facts = [facts_of(demonstration(i, change=little if i == 4 else lambda v: v)) for i in range(10)]
        assert judged(facts, "dataset.outliers") == []

    def test_an_episode_that_hardly_moves_is_found(self):
        def still(values):
            values[:, :3] = values[0, :3] + 0.2 * (values[:, :3] - values[0, :3])
            return values

        facts = [facts_of(demonstration(i, change=still if i == 4 else lambda v: v)) for i in range(10)]
        (finding,) = judged(facts, "dataset.outliers")
        assert finding.episode_id == facts[4].episode_id
        assert finding.message.startswith("moves along a path of 0.")

    def test_alike_demonstrations_pass(self):
        assert judged([facts_of(demonstration(i)) for i in range(10)], "dataset.outliers") == []


class TestVersions:
    def test_two_versions_are_named_with_the_episodes_of_the_rarer(self):
        facts = [build_fact(i) for i in range(6)]
        facts[2] = dataclasses.replace(facts[2], embodiment_version=2, embodiment_digest="cd" * 32)
        (finding,) = judged(facts, "dataset.versions")
        assert finding.severity is Severity.WARNING
        assert finding.others == ("e2",)
        assert finding.message == (
            "embodiment test_arm has 2 schemas: version 1 (abababababab) in 5 episodes, version 2 (cdcdcdcdcdcd) in "
            "1 episode; all episodes must have the same one"
        )

    def test_one_version_of_each_embodiment_passes(self):
        facts = [build_fact(i, embodiment=f"arm_{i % 2}", embodiment_digest=f"{i % 2}" * 64) for i in range(6)]
        assert judged(facts, "dataset.versions") == []
        assert judged([], "dataset.versions") == []


def session(number, *, key="session", **knobs):
    name = "monday" if number < 5 else "tuesday"
    return facts_of(demonstration(number, **knobs), metadata={key: name})


def lifted(values):
    values[:, 1] += 0.05
    return values


class TestSessionDrift:
    def test_a_zero_that_moved_in_one_of_two_sessions_is_found(self):
        facts = [session(i, change=lifted if i >= 5 else lambda v: v) for i in range(10)]
        (finding,) = judged(facts, "dataset.session_drift")
        assert finding.severity is Severity.WARNING
        assert finding.dimensions == ("joint_1",)
        assert finding.location == "/streams/arm/values"
        assert finding.magnitude == pytest.approx(0.05, abs=0.005)
        assert finding.others == tuple(f.episode_id for f in facts[:5])
        assert finding.message.startswith("measured minus commanded of arm.joint_1 is ")
        assert " in session 'monday' (5 episodes) and " in finding.message
        assert finding.message.endswith(" within a session; its zero must not move")

    def test_sessions_can_be_dates(self):
        facts = [session(i, key="date", change=lifted if i >= 5 else lambda v: v) for i in range(10)]
        assert len(judged(facts, "dataset.session_drift")) == 1

    def test_of_three_sessions_the_one_that_moved_is_told(self):
        facts = [session(i, change=lifted if i >= 5 else lambda v: v) for i in range(10)]
        facts += [facts_of(demonstration(i), metadata={"session": "sunday"}) for i in range(10, 16)]
        (finding,) = judged(facts, "dataset.session_drift")
        assert " in session 'tuesday' (5 episodes) and " in finding.message
        assert " in the others (11 episodes)" in finding.message

    def test_a_home_pose_that_moved_is_found_without_commands(self):
        commanded = Signal(name="command", dimensions=tuple(d.model_copy(update={"name": f"c{i}"}) for i, d in
                                                            enumerate(ARM.action[0].dimensions)))  # fmt: skip
        arm = ARM.model_copy(update={"action": (commanded,)})

        def from_home(values, shift=0.0):
            values[:, :3] -= values[11, :3]  # about the first that belongs to the steps
            return values + shift * (np.arange(values.shape[1]) == 1)

        facts = [session(i, embodiment=arm, change=lambda v, i=i: from_home(v, 0.05 * (i >= 5))) for i in range(10)]
        (finding,) = judged(facts, "dataset.session_drift")
        assert finding.message.startswith("the pose at the start of arm.joint_1 is ")

    def test_equal_sessions_few_episodes_and_unnamed_ones_pass(self):
        assert judged([session(i) for i in range(10)], "dataset.session_drift") == []
        moved = [session(i, change=lifted if i >= 5 else lambda v: v) for i in range(10)]
        assert judged(moved[1:], "dataset.session_drift") == []
        assert judged([dataclasses.replace(f, metadata={}) for f in moved], "dataset.session_drift") == []
        assert judged([dataclasses.replace(f, features={}) for f in moved], "dataset.session_drift") == []


class TestImbalance:
    def test_twenty_times_as_many_is_found(self):
        facts = [build_fact(i, instruction="pour the water" if i == 7 else "Wipe the table") for i in range(21)]
        (finding,) = judged(facts, "dataset.imbalance")
        assert finding.severity is Severity.WARNING
        assert finding.others == ("e7",)
        assert finding.message == (
            "task 'Wipe the table' has 20 episodes and 'pour the water' has 1 episode, 20 times less; "
            "it must be less than 20 times"
        )

    def test_less_and_one_task_alone_pass(self):
        facts = [build_fact(i, instruction="pour the water" if i == 7 else "wipe the table") for i in range(20)]
        assert judged(facts, "dataset.imbalance") == []
        assert judged([build_fact(i) for i in range(40)], "dataset.imbalance") == []
        assert judged([], "dataset.imbalance") == []

    def test_texts_that_were_written_freely_are_not_counted(self):
        facts = [build_fact(i, instruction="wipe" if i < 30 else f"do thing {i}") for i in range(80)]
        assert judged(facts, "dataset.imbalance") == []


class TestOutcomes:
    def test_one_outcome_only_is_told(self):
        (finding,) = judged([build_fact(i) for i in range(20)], "dataset.outcomes")
        assert finding.severity is Severity.INFO
        assert finding.message == (
            "20 of 20 outcomes are success and none is failure; what tells one from the other can hardly be learned "
            "from them"
        )

    def test_a_rare_outcome_is_told_with_its_episodes(self):
        facts = [build_fact(i, outcome="success" if i == 3 else "failure") for i in range(41)]
        (finding,) = judged(facts, "dataset.outcomes")
        assert "40 of 41 outcomes are failure and success is 1 episode" in finding.message
        assert finding.others == ("e3",)

    def test_both_few_and_none_pass(self):
        assert (
            judged(
                [build_fact(i, outcome="failure" if i % 9 == 0 else "success") for i in range(40)], "dataset.outcomes"
            )
            == []
        )
        assert judged([build_fact(i) for i in range(19)], "dataset.outcomes") == []
        assert judged([build_fact(i, outcome="") for i in range(40)], "dataset.outcomes") == []


class TestNoVariance:
    def dead(self, values):
        values[:, 2] = 0.25
        return values

    def test_a_dimension_that_never_changes_is_named_with_its_value(self):
        facts = [facts_of(demonstration(i, change=self.dead)) for i in range(4)]
        (finding,) = judged(facts, "dataset.no_variance")
        assert finding.severity is Severity.WARNING
        assert finding.dimensions == ("joint_2",)
        assert finding.location == "/streams/arm/values"
        assert finding.message == (
            "joint_2 (0.25 rad) of arm has the same value in all 4 episodes; it must change, or normalization divides "
            "by nothing"
        )

    def test_what_changes_in_one_episode_passes(self):
        facts = [facts_of(demonstration(i, change=self.dead if i else lambda v: v)) for i in range(4)]
        assert judged(facts, "dataset.no_variance") == []

    def test_two_episodes_say_nothing(self):
        assert judged([facts_of(demonstration(i, change=self.dead)) for i in range(2)], "dataset.no_variance") == []

    def test_grippers_and_padding_may_stand_still(self):
        padding = Dimension(name="pad", kind=Kind.PADDING, unit=Unit.ONE)
        arm = ARM.proprioception[0]
        signal = arm.model_copy(update={"dimensions": (*arm.dimensions, padding)})
        embodiment = Embodiment(name="padded", rate_hz=10.0, proprioception=(signal,), action=ARM.action)

        def still(values):
            values[:, 3:] = 0.0
            return values

        facts = [facts_of(demonstration(i, change=still, embodiment=embodiment)) for i in range(4)]
        assert judged(facts, "dataset.no_variance") == []


def nothing(values):
    return values[:, :0]


NASTY = {
    "nan": lambda v: np.where(np.arange(len(v))[:, None] % 3 == 0, np.nan, v),
    "all nan": lambda v: v * np.nan,
    "infinite": lambda v: np.where(v > 0.5, np.inf, v),
    "huge": lambda v: v * 1e300,
    "constant": lambda v: v * 0.0,
    "no dimension": nothing,
    "integers": lambda v: (100 * v).astype(np.int16),
}


class TestHostile:
    @pytest.mark.parametrize("name", NASTY)
    @pytest.mark.parametrize("count", [1, 12])
    def test_odd_values_stop_no_check(self, name, count):
        """Of twelve episodes that are measured, one, half or all are odd."""
        for wrong in (1, count // 2, count):
            facts = [session(i, change=NASTY[name] if i < wrong else lambda v: v) for i in range(count)]
            assert [f.message for f in run_dataset_checks(facts) if f.traceback] == []

    def test_short_and_empty_episodes_stop_no_check(self):
        facts = [facts_of(demonstration(i, duration_s=0.0)) for i in range(9)]
        facts += [facts_of(build_episode(ARM, steps=lambda s, k=k: s.between(0, k))) for k in (0, 1, 2)]
        facts.append(facts_of(build_episode(ARM, without=("arm",))))
        facts.append(facts_of(build_episode(ARM, without=("arm", "command"))))
        facts.append(facts_of(build_episode(ARM, stamps={"arm": lambda t: t[:0]}, values={"arm": lambda v: v[:0]})))
        assert [f.message for f in run_dataset_checks(facts) if f.traceback] == []

    def test_measurements_are_small(self):
        wide = build_embodiment(num_joints=29, cameras=())
        fact = facts_of(build_episode(wide))
        sizes = {n: v.nbytes for n, v in fact.features.items() if n.startswith("dataset.")}
        assert set(sizes) == {"dataset.layout", "dataset.path", "dataset.rows", "dataset.summary"}
        assert max(sizes.values()) <= 2048


def test_two_thousand_episodes_are_gone_through_a_fixed_number_of_times():
    rng = np.random.default_rng(0)
    like = facts_of(demonstration(0))

    def varied(name):
        return (like.features[name] + rng.normal(0, 0.05, like.features[name].shape)).astype(np.float32)

    facts = CountedFacts(
        [
            build_fact(
                i,
                instruction=f"put cube {i % 40} into the bin",
                split="train" if i % 5 else "val",
                outcome="success" if i % 7 else "failure",
                metadata={"session": f"day {i // 250}"},
                features={
                    **like.features,
                    "dataset.summary": varied("dataset.summary"),
                    "dataset.path": varied("dataset.path"),
                    "dataset.rows": np.append(np.uint64(200), rng.integers(0, 2**62, 32).astype(np.uint64)),
                },
            )
            for i in range(2000)
        ]
    )
    names = ["dataset", "duplicates", "labels"]
    assert [f.message for f in run_dataset_checks(facts, select=names) if f.check.partition(".")[0] in names] == []
    # Of each check at most five passes; and single reads only of those that are compared with each other.
    assert facts.passes <= 40
    assert facts.reads <= 6000

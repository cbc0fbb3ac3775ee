"""What checks remember of an episode."""

import dataclasses
import gc
import threading
import weakref

import pytest

from vladata.checks import CheckSettings, measure, run_checks
from vladata.checks._memory import remembered
from vladata.testing.builders import build_embodiment, build_episode

EMBODIMENT = build_embodiment(cameras=())


@pytest.fixture
def asked():
    return []


@pytest.fixture
def look(asked):
    @remembered
    def look(episode, number=0):
        asked.append((episode.episode_id, number))
        return len(asked)

    return look


def test_the_same_is_looked_at_once(look, asked):
    episode = build_episode(EMBODIMENT)
    assert [look(episode), look(episode), look(episode, 1), look(episode, 1), look(episode)] == [1, 1, 2, 2, 1]
    assert len(asked) == 2


def test_another_episode_takes_the_place_of_the_last_one(look):
    first, second = build_episode(EMBODIMENT), build_episode(EMBODIMENT, seed=1)
    assert [look(first), look(second), look(first)] == [1, 2, 3]


def test_an_episode_that_was_made_of_another_is_another(look):
    episode = build_episode(EMBODIMENT)
    assert [look(episode), look(dataclasses.replace(episode)), look(episode)] == [1, 2, 3]


def test_threads_do_not_disturb_each_other(look):
    episode, others = build_episode(EMBODIMENT), []
    look(episode)
    thread = threading.Thread(target=lambda: others.append(look(build_episode(EMBODIMENT, seed=1))))
    thread.start()
    thread.join()
    assert (look(episode), others) == (1, [2])


def test_an_error_is_not_remembered():
    results = iter((ValueError("damaged"), 3))

    @remembered
    def look(_):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    episode = build_episode(EMBODIMENT)
    with pytest.raises(ValueError, match="damaged"):
        look(episode)
    assert look(episode) == 3


def test_no_check_and_no_measurement_keeps_an_episode_alive():
    episode = build_episode(build_embodiment())
    run_checks(episode)
    measure(episode, CheckSettings())
    seen = weakref.ref(episode)
    del episode
    gc.collect()
    assert seen() is None

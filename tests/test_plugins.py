"""Plugins are files."""

import pytest

from vladata import plugins
from vladata.errors import PluginNotFoundError


def test_a_folder_s_files_are_its_plugins():
    assert plugins.names("sources") == [
        "aloha_hdf5",
        "csv_video",
        "droid",
        "hdf5_columns",
        "lerobot_v2",
        "lerobot_v3",
        "libero_hdf5",
        "mcap",
        "rlds",
        "robomimic_hdf5",
        "ros_bag",
        "umi_zarr",
    ]
    bins = {"bspline", "mu_law_bins", "octo_bins", "openvla_bins", "quantile_bins", "rt1_bins", "uniform_bins"}
    assert bins <= set(plugins.names("tokenizers"))
    assert plugins.names("exporters") == ["huggingface"]
    assert {"timing", "values", "camera", "labels", "structure", "duplicates"} < set(plugins.names("checks"))


@pytest.mark.parametrize("kind", ["sources", "checks", "tokenizers", "exporters"])
def test_every_plugin_loads_and_is_the_module_of_its_name(kind):
    for name in plugins.names(kind):
        assert plugins.load(kind, name).__name__ == f"vladata.{kind}.{name}"


def test_a_new_file_is_a_new_plugin(tmp_path, monkeypatch):
    import vladata.tokenizers

    (tmp_path / "mine.py").write_text("VALUE = 7\n")
    (tmp_path / "_hidden.py").write_text("")
    monkeypatch.setattr(vladata.tokenizers, "__path__", [*vladata.tokenizers.__path__, str(tmp_path)])
    assert "mine" in plugins.names("tokenizers")
    assert "_hidden" not in plugins.names("tokenizers")
    assert plugins.load("tokenizers", "mine").VALUE == 7


def test_a_typing_error_gets_the_nearest_name():
    with pytest.raises(PluginNotFoundError, match="named 'uniform_bin'; did you mean 'uniform_bins'"):
        plugins.load("tokenizers", "uniform_bin")


def test_a_strange_name_gets_the_list():
    with pytest.raises(PluginNotFoundError, match="there are: aloha_hdf5, csv_video, droid, "):
        plugins.load("sources", "zzz")


@pytest.mark.parametrize("name", ["_join", "..", "mcap.read", "", "os"])
def test_nothing_else_can_be_imported(name):
    with pytest.raises(PluginNotFoundError):
        plugins.load("sources", name)
    assert issubclass(PluginNotFoundError, LookupError)

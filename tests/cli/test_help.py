"""Help, versions, usage errors, exit codes: what people see first."""

import re
from importlib.metadata import entry_points, version

import pytest


def commands():
    """Every command as a list of words, found by looking into the app."""
    from typer.main import get_command

    (point,) = entry_points(group="console_scripts", name="vladata")

    def walk(command, words):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
        else:
            for name, child in inner.items():
                yield from walk(child, [*words, name])

    return list(walk(get_command(point.load()), []))


COMMANDS = commands()


def test_the_commands_are_those_of_the_documentation():
    assert {" ".join(words) for words, _ in COMMANDS} == {
        *("ingest", "validate", "checks", "export", "retokenize", "mix", "verify", "inspect", "timing"),
        *("ls", "show", "resync", "doctor"),
        *(f"edit {n}" for n in ("relabel", "mark", "trim", "drop", "quarantine", "undo", "log")),
        *(f"schema {n}" for n in ("list", "show", "check", "diff", "draft", "json", "kinematics")),
        *(f"tokenizer {n}" for n in ("encode", "decode", "report", "fit")),
        *(f"vocab {n}" for n in ("extend", "check")),
        *(f"prompts {n}" for n in ("list", "show", "render")),
    }


@pytest.mark.parametrize("words", [w for w, _ in COMMANDS], ids=" ".join)
def test_help_has_a_sentence_an_example_and_a_text_for_every_option(cli, words):
    done = cli(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"Example: vladata {' '.join(words)}\b", done.stdout)
    assert cli(*words, "-h").stdout == done.stdout
    (command,) = [c for w, c in COMMANDS if w == words]
    for parameter in command.params:
        assert getattr(parameter, "help", "") or parameter.name == "help", parameter.name


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(w) for w, _ in COMMANDS])
def test_what_writes_has_a_dry_run_and_what_prints_a_table_has_json(words, command):
    options = {o for p in command.params for o in p.opts}
    if (
        words[0] in {"ingest", "export", "mix", "resync", "retokenize"}
        or words[-1] in {"extend", "fit"}
        or (words[0] == "edit" and words[1] != "log")
    ):
        assert "--dry-run" in options
    with_json = "ingest validate checks export mix verify inspect timing ls show resync doctor log list extend"
    if words[-1] in {*with_json.split(), "retokenize", "report", "fit"}:
        assert "--json" in options


def test_the_groups_show_their_commands_when_asked_nothing(cli):
    for words in ([], ["edit"], ["schema"], ["tokenizer"], ["vocab"], ["prompts"]):
        done = cli(*words)
        assert done.returncode == 2
        shown = done.stdout + done.stderr
        for inner, _ in COMMANDS:
            if inner[: len(words)] == words:
                assert re.search(rf"^  {inner[len(words)]} ", shown, re.MULTILINE)


def test_the_version_is_the_package_s(cli):
    import vladata

    assert cli("--version").stdout == f"vladata {version('vladata')}\n"
    assert vladata.__version__ == version("vladata")


def test_exit_codes_are_documented_in_the_help(cli):
    shown = " ".join(cli("--help").stdout.split())
    for code in ("0 good", "1 failed", "2 usage", "3 finished with loss", "4 violation", "130 interrupted"):
        assert code in shown


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["ls"],
        ["ls", "x", "--nosuch"],
        ["ingest", "x", "-o", "y"],
        ["ingest", "x", "-s", "sample_arm", "-o", "y", "--workers", "0"],
        ["validate", "x", "--fail-on", "sometimes"],
        ["export", "x", "-o", "y", "--chunk-end", "wrap"],
        ["export", "x", "-o", "y", "--image-size", "big"],
        ["export", "x", "-o", "y", "--split", "train=most"],
        ["mix", "x.yaml"],
        ["edit", "undo", "x", "first"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_2_and_says_what_must_be_on_stderr(cli, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip()
    assert not list(tmp_path.iterdir())


def test_a_typing_error_in_a_name_gets_a_proposal(cli, sample_dataset, tmp_path):
    done = cli("export", sample_dataset, "-o", tmp_path / "out", "--tokenizer", "uniform_bin")
    assert done.returncode == 1
    assert "no tokenizers plugin named 'uniform_bin'; did you mean 'uniform_bins'?" in done.stderr
    done = cli("validate", sample_dataset, "--select", "timing.gap")
    assert done.returncode == 1
    assert "did you mean 'timing.gaps'?" in done.stderr
    done = cli("ingest", sample_dataset, "-s", "sample_arms", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "no schema named 'sample_arms'" in done.stderr
    assert "sample_arm" in done.stderr.partition("there are")[2]

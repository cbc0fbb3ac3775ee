"""The house in order: packages, imports, sizes, names, documents."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import vladata
from vladata import plugins

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAX_LINES = 420
LONGER: dict[str, int] = {}
"""One thing each, thought over; they must not grow."""

MODULES = sorted(p for folder in ("vladata", "cli") for p in (ROOT / folder).rglob("*.py"))
HEAVY = ("h5py", "pyarrow", "datasets", "cv2", "av", "scipy", "tokenizers", "mcap", "rich", "pandas", "torch")


def text_of_docs():
    return "\n".join(p.read_text() for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def loaded_by(code):
    """Top-level names of the modules that a fresh interpreter has loaded after some code."""
    program = f"import sys\n{code}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


class TestPackages:
    def test_the_list_of_packages_is_the_tree(self):
        names = {"vladata": ROOT / "vladata", "vladata_cli": ROOT / "cli", "vladata_schemas": ROOT / "schemas"}
        found = {
            ".".join([name, *init.parent.relative_to(folder).parts])
            for name, folder in names.items()
            for init in folder.rglob("__init__.py")
        }
        assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)
        for folder in names.values():
            for path in folder.rglob("*.py"):
                assert (path.parent / "__init__.py").exists()

    def test_every_schema_is_packaged(self):
        from vladata.mapping import schema_names

        assert set(schema_names()) == {p.stem for p in (ROOT / "schemas").glob("*.yaml")}
        assert PROJECT["tool"]["setuptools"]["package-data"]["vladata_schemas"] == ["*.yaml"]

    def test_the_command_is_installed_under_its_own_name(self):
        (point,) = entry_points(group="console_scripts", name="vladata")
        point.load()
        assert "cli" not in sys.modules
        assert "vladata_cli" in sys.modules

    def test_the_version_stands_in_the_project_in_the_package_and_in_the_changelog(self):
        version = PROJECT["project"]["version"]
        assert vladata.__version__ == version
        assert re.search(rf"^## \[?{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


class TestImports:
    def test_the_library_is_light(self):
        assert not loaded_by("import vladata") & {*HEAVY, "numpy", "pydantic", "typer", "yaml"}

    @pytest.mark.parametrize("words", [["--help"], ["ingest", "--help"], ["export", "--help"], ["--version"]])
    def test_help_loads_nothing_heavy(self, words):
        code = f"""
from importlib.metadata import entry_points
(point,) = entry_points(group="console_scripts", name="vladata")
sys.argv = ["vladata", *{words!r}]
try:
    point.load()()
except SystemExit as left:
    assert left.code == 0
"""
        assert not loaded_by(code) & {*HEAVY, "numpy"}

    def test_listing_a_dataset_opens_no_episode_library(self, sample_dataset):
        names = loaded_by(f"import vladata\nfor e in vladata.open({str(sample_dataset)!r}).entries: pass")
        assert not names & {"datasets", "cv2", "av", "scipy", "tokenizers", "mcap"}

    def test_packages_are_imported_only_where_the_design_allows_it(self):
        allowed = {
            "h5py": ("vladata/store/", "vladata/gate.py", "vladata/sources/", "vladata/workers.py", "cli/doctor.py"),
            "cv2": ("vladata/images.py", "cli/doctor.py", "vladata/_worker.py"),
            "av": ("vladata/video.py", "vladata/frame_decoder.py"),
            "datasets": ("vladata/exporters/", "vladata/mixtures/"),
            "typer": ("cli/",),
        }
        for path in MODULES:
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules = [a.name for a in node.names]
                else:
                    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
                for module in modules:
                    places = allowed.get(module.partition(".")[0])
                    assert places is None or name.startswith(places), f"{name} imports {module}"

    def test_nothing_runs_code_out_of_files(self):
        banned = re.compile(
            r"\b(pickle\.load|marshal\.load|yaml\.load\((?!data, Loader=yaml\.CSafeLoader)|eval\(|exec\()"
        )
        for path in MODULES:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not banned.search(line), f"{path.name}:{number}: {line.strip()}"
                assert "trust_remote_code" not in line
                assert "allow_pickle=True" not in line


class TestModules:
    @pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
    def test_a_module_is_not_too_long_and_says_what_it_is(self, path):
        text = path.read_text()
        assert len(text.splitlines()) <= LONGER.get(path.relative_to(ROOT).as_posix(), MAX_LINES)
        assert ast.get_docstring(ast.parse(text))

    def test_public_modules_list_what_is_public(self):
        for name in module_names():
            module = importlib.import_module(name)
            if name.rpartition(".")[2].startswith("_") or not own_names(module):
                continue
            listed = getattr(module, "__all__", None)
            assert listed is not None, f"{name} has no __all__"
            assert len(listed) == len(set(listed)), f"{name} lists a name twice"
            missing = [n for n in listed if not hasattr(module, n)]
            assert not missing, f"{name} lists {missing}, which it does not have"


def module_names():
    return [m.name for m in pkgutil.walk_packages(vladata.__path__, "vladata.") if not m.name.endswith("__main__")]


def own_names(module):
    """Public classes and functions that a module defines."""
    public = {n: v for n, v in vars(module).items() if not n.startswith("_")}
    return [n for n, v in public.items() if getattr(v, "__module__", None) == module.__name__]


class TestDocuments:
    def test_every_command_is_documented(self):
        from typer.main import get_command

        (point,) = entry_points(group="console_scripts", name="vladata")
        text = text_of_docs()

        def walk(command, words):
            inner = getattr(command, "commands", None) or {}
            if not inner:
                yield " ".join(words)
            for name, child in inner.items():
                yield from walk(child, [*words, name])

        def is_documented(command):
            # `vladata edit relabel`, or a line that goes on: `vladata edit relabel` · `mark`
            group, _, name = command.rpartition(" ")
            return re.search(rf"{command}\b|{group} [^\n]*`{name}`", text)

        missing = [c for c in walk(get_command(point.load()), ["vladata"]) if not is_documented(c)]
        assert not missing

    def test_every_check_has_its_page_that_says_why(self):
        from vladata.checks._runner import check_names

        pages = {p.stem for p in (ROOT / "docs" / "checks").glob("*.*.md")}
        assert pages == set(check_names())
        listed = (ROOT / "docs" / "checks" / "README.md").read_text()
        for name in check_names():
            assert name in listed

    def test_the_readme_counts_the_checks(self):
        from vladata.checks import check_names

        counted = re.findall(r"(\d+) checks\b", (ROOT / "README.md").read_text())
        assert counted
        assert {int(n) for n in counted} == {len(check_names())}

    @pytest.mark.parametrize("kind", ["sources", "tokenizers", "exporters"])
    def test_every_plugin_is_documented(self, kind):
        text = text_of_docs()
        assert plugins.names(kind)
        assert [n for n in plugins.names(kind) if n not in text] == []

    def test_every_schema_is_documented(self):
        from vladata.mapping import schema_names

        text = text_of_docs()
        assert [n for n in schema_names() if n not in text] == []

    def test_links_between_the_documents_lead_somewhere(self):
        documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_data").glob("*.md")]
        for path in documents:
            for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
                if not re.match(r"[a-z]+:", target):
                    assert (path.parent / target).exists(), f"{path.name} links to {target}"

    def test_decisions_are_numbered_without_a_hole(self):
        numbers = sorted(int(p.name[:4]) for p in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
        assert numbers == list(range(1, len(numbers) + 1))

    def test_dependencies_have_lower_bounds_only(self):
        extras = PROJECT["project"]["optional-dependencies"]
        everything = [*PROJECT["project"]["dependencies"], *(d for ds in extras.values() for d in ds)]
        for line in everything:
            assert not re.search(r"[<~]|==", line), line

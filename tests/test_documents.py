"""YAML and JSON that people write: limits, errors with file and key, no silent conversion."""

import datetime
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.documents import Document, canonical_json, digest_of, parse, read_yaml
from vladata.embodiment import Embodiment
from vladata.errors import SchemaError


def write(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class TestReadYaml:
    def test_plain_values(self, tmp_path):
        text = "a: 1\nb: [1.5, true, null, text]\nc: {d: 'x'}\n"
        assert read_yaml(write(tmp_path, text)) == {"a": 1, "b": [1.5, True, None, "text"], "c": {"d": "x"}}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a: [1, 2\nb: 3\n", "file.yaml: line 2: "),
            ("a: 1\nb: {x: 1, y: 2, x: 3}\n", "line 2: x comes twice in one place"),
            ("a: 1\nb: 2\na: 3\n", "line 3: a comes twice in one place"),
            ("- {x: 1}\n- {x: 1, 'x': 2}\n", "line 2: x comes twice"),
            ("a: &x [1]\nb: *x\n", "line 2: YAML aliases are not accepted"),
            ("a: !!python/object/apply:os.system [ls]\n", "line 1: could not determine a constructor"),
            ("a: !!int text\n", "not YAML"),
            ("a: 2024-13-45\n", "not YAML: month must be in 1..12"),
            (f"a: {'9' * 5000}\n", "not YAML"),
            ("a: \x07\n", "not YAML"),
            (b"a: \xff\xfe\n", "not YAML"),
            ("? [a, b]\n: 1\n", "line 1: "),
            ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ],
    )
    def test_what_is_wrong_is_one_line_with_the_place(self, tmp_path, text, reason):
        with pytest.raises(SchemaError) as caught:
            read_yaml(write(tmp_path, text))
        assert reason in str(caught.value)
        assert "file.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_bombs_are_refused_at_once(self, tmp_path):
        started = time.monotonic()
        laughs = "a: &a [x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
        )
        with pytest.raises(SchemaError, match="aliases"):
            read_yaml(write(tmp_path, laughs))
        with pytest.raises(SchemaError, match="2,000,000 bytes; a schema or mapping must have at most 1,000,000"):
            read_yaml(write(tmp_path, b" " * 2_000_000))
        with pytest.raises(SchemaError, match="nested deeper"):
            read_yaml(write(tmp_path, "[" * 400_000))
        assert time.monotonic() - started < 2

    def test_a_missing_file_is_an_os_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_yaml(tmp_path / "nosuch.yaml")

    @given(st.binary(max_size=200))
    def test_any_bytes_are_values_or_a_schema_error(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        path.write_bytes(data)
        try:
            read_yaml(path)
        except SchemaError:
            return


class Inner(Document):
    value: float
    names: tuple[str, ...] = ()


class Outer(Document):
    name: str
    count: int = 1
    is_on: bool = False
    inner: dict[str, Inner] = {}


class TestParse:
    def test_values_become_a_document(self):
        made = parse(Outer, {"name": "a", "inner": {"x": {"value": 1, "names": ["p", "q"]}}}, "f.yaml")
        assert made == Outer(name="a", inner={"x": Inner(value=1.0, names=("p", "q"))})

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"name": "a", "count": "1"}, "f.yaml: count: input should be a valid integer, found '1'"),
            ({"name": "a", "count": 1.0}, "f.yaml: count: input should be a valid integer, found 1.0"),
            ({"name": "a", "count": True}, "f.yaml: count: input should be a valid integer, found True"),
            ({"name": "a", "is_on": "no"}, "f.yaml: is_on: input should be a valid boolean, found 'no'"),
            ({"name": "a", "is_on": 1}, "f.yaml: is_on: input should be a valid boolean, found 1"),
            ({"name": 5}, "f.yaml: name: input should be a valid string, found 5"),
            ({"name": None}, "f.yaml: name: input should be a valid string, found None"),
            ({}, "f.yaml: name: field required"),
            ({"name": "a", "cuont": 1}, "f.yaml: cuont: extra inputs are not permitted, found 1"),
            ({"name": "a", "inner": {"x": {"value": "1.5"}}}, "f.yaml: inner.x.value: input should be a valid number"),
            ({"name": "a", "inner": {"x": {"value": float("nan")}}}, "inner.x.value: input should be a finite number"),
            ({"name": "a", "inner": {"x": {"value": float("inf")}}}, "inner.x.value: input should be a finite number"),
            ([1], "f.yaml: the document: input should be an object"),
            (None, "f.yaml: the document: input should be an object"),
            ({"name": datetime.date(2024, 1, 2)}, "f.yaml: 2024-01-02 is a date; text must stand in quotes"),
            ({"name": 5, "count": "x", "z": 1}, "(and 2 more)"),
        ],
    )
    def test_nothing_is_converted_in_silence(self, value, message):
        with pytest.raises(SchemaError) as caught:
            parse(Outer, value, "f.yaml")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_what_was_found_is_shown_without_what_steers_terminals(self):
        with pytest.raises(SchemaError) as caught:
            parse(Outer, {"name": "a", "x\x1b[31m": "\x1b[31m" * 100}, "f.yaml")
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 200

    def test_documents_do_not_change(self):
        made = parse(Outer, {"name": "a"}, "f.yaml")
        with pytest.raises(ValueError, match="frozen"):
            made.name = "b"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class TestCanonicalJson:
    @given(json_values)
    def test_it_is_json_and_gives_the_value_back(self, value):
        assert json.loads(canonical_json(value)) == value

    @given(st.dictionaries(st.text(), json_values, max_size=5))
    def test_the_order_of_keys_does_not_matter(self, value):
        assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)

    def test_it_is_written_in_one_way(self):
        assert canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical_json(float("nan"))


class TestDigest:
    def test_defaults_do_not_count_and_values_do(self):
        plain = Embodiment(name="a", rate_hz=10)
        assert digest_of(plain) == digest_of(Embodiment(name="a", rate_hz=10.0, description="", version=1))
        assert digest_of(plain) != digest_of(Embodiment(name="a", rate_hz=11))
        assert len(digest_of(plain)) == 64

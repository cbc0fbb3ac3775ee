"""What runs on a robot: the bundle alone, in a process with numpy and tokenizers and nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tokenizers import Tokenizer, models

import vladata
from vladata import plugins
from vladata.action_tokenizer import ActionTokenizer, EmbodimentFacts
from vladata.actions.normalization import Normalization
from vladata.actions.representation import Representation
from vladata.actions.statistics import gather_statistics
from vladata.embodiment import Signal
from vladata.errors import TokenizeError
from vladata.tokenizers import TokenRows
from vladata.units import Kind, Mode, RotationConvention, Unit
from vladata.vocabulary import BaseTokenizer, added_vocabulary

H = 4
CONVENTIONS = (
    RotationConvention.EULER_XYZ,
    RotationConvention.ROTATION_VECTOR,
    RotationConvention.QUATERNION_XYZW,
    RotationConvention.QUATERNION_WXYZ,
)
QUATERNIONS = CONVENTIONS[2:]
FACTS = EmbodimentFacts(name="arm", version=3, digest="0" * 64)

ROBOT = """
import sys

class Bare:
    '''The import system of a robot that has numpy and tokenizers and no other package.'''

    known = {"vladata", "numpy", "tokenizers", *sys.stdlib_module_names}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.known:
            raise ModuleNotFoundError(f"{name} is not on the robot")

sys.meta_path.insert(0, Bare())

import json

import numpy as np
import vladata
"""

ENCODE_AND_DECODE = """
results = []
for folder in sys.argv[1:]:
    tokenizer = vladata.ActionTokenizer.load(folder)
    tokenizer.check(rate_hz=10, embodiment_digest="0" * 64, names=tokenizer.names)
    given = json.load(open(folder + "/given.json"))
    chunks = np.array(given["chunks"])
    state = None if given["state"] is None else np.array(given["state"])
    codes = tokenizer.encode(chunks, state)
    rows = [codes[i].tolist() for i in range(len(chunks))]
    ids = tokenizer.to_ids(codes)
    back = tokenizer.from_ids([ids[i].tolist() for i in range(len(ids))])
    assert [back[i].tolist() for i in range(len(rows))] == rows
    broken = [[*row[:-1], 1 << 20] for row in rows]
    try:
        tokenizer.decode(broken, state)
        refused = ""
    except vladata.errors.TokenizeError as error:
        refused = str(error)
    relaxed = tokenizer.decode_relaxed(broken, state)
    results.append({
        "codes": rows,
        "decoded": tokenizer.decode(rows, state).tolist(),
        "refused": refused,
        "relaxed": relaxed.chunks.tolist(),
        "repaired": relaxed.num_repaired.tolist(),
    })
json.dump({"modules": sorted({m.partition(".")[0] for m in sys.modules}), "results": results}, sys.stdout)
"""

DECODE = """
tokenizer = vladata.ActionTokenizer.load(sys.argv[1])
given = json.load(open(sys.argv[1] + "/given.json"))
json.dump(tokenizer.decode(given["codes"], given["state"]).tolist(), sys.stdout)
"""


def signal(name: str, mode: Mode | None, convention: RotationConvention) -> Signal:
    turns, unit = (4, Unit.ONE) if convention in QUATERNIONS else (3, Unit.RADIAN)
    dims = [
        *({"name": n, "kind": Kind.POSITION, "unit": Unit.METRE, "mode": mode} for n in "xyz"),
        *({"name": f"r{i}", "kind": Kind.ROTATION, "unit": unit, "mode": mode} for i in range(turns)),
        {"name": "gripper", "kind": Kind.GRIPPER_COMMAND, "unit": Unit.ONE, "mode": mode}
        | {"open_value": 1.0, "closed_value": 0.0},
    ]
    return Signal.model_validate({"name": name, "dimensions": dims, "rotation": convention, "reference_frame": "base"})


def rows_of(convention: RotationConvention, count: int, seed: int) -> np.ndarray:
    """Poses of an arm that wanders, [count, D]."""
    generator = np.random.default_rng(seed)
    place = np.cumsum(generator.normal(0, 0.01, (count, 3)), axis=0)
    turn = generator.normal(0, 0.3, (count, 4 if convention in QUATERNIONS else 3))
    if convention in QUATERNIONS:
        turn[:, 3 if convention is RotationConvention.QUATERNION_XYZW else 0] = 1.0
        turn /= np.linalg.norm(turn, axis=1, keepdims=True)
    return np.concatenate([place, turn, generator.integers(0, 2, (count, 1))], axis=1)


def windows(rows: np.ndarray) -> np.ndarray:
    return rows[np.arange(len(rows) - H + 1)[:, None] + np.arange(H)]


def build(scheme: str, target: Mode | None, convention: RotationConvention) -> ActionTokenizer:
    representation = Representation.build(
        [signal("target", Mode.ABSOLUTE, convention)], [signal("seen", None, convention)], target
    )
    chunks = representation.represent(windows(rows_of(convention, 200, 0)), windows(rows_of(convention, 200, 1)))
    normalization = Normalization.fit(gather_statistics(lambda: [chunks], representation.names))
    codec = plugins.load("tokenizers", scheme).Codec.fit(normalization.apply(chunks))
    base = BaseTokenizer(Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).to_str(), "tiny")
    return ActionTokenizer(
        scheme=scheme,
        representation=representation,
        normalization=normalization,
        codec=codec,
        horizon=H,
        rate_hz=10.0,
        vocabulary=added_vocabulary(codec.num_codes, base),
        embodiment=FACTS,
    )


def run(program: str, *folders: Path) -> Any:
    """What a program prints on a robot, as JSON."""
    done = subprocess.run([sys.executable, "-c", ROBOT + program, *map(str, folders)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scheme", plugins.names("tokenizers"))
def test_a_robot_with_numpy_and_tokenizers_alone_does_what_was_trained(scheme: str, tmp_path: Path) -> None:
    cases = [(t, c) for t in (None, Mode.DELTA, Mode.CHUNK_RELATIVE) for c in CONVENTIONS]
    tokenizers, inputs = [], []
    for number, (target, convention) in enumerate(cases):
        tokenizer = build(scheme, target, convention)
        chunks, states = windows(rows_of(convention, 12, 2)), windows(rows_of(convention, 12, 3))
        state = {None: None, Mode.DELTA: states, Mode.CHUNK_RELATIVE: states[:, 0]}[target]
        tokenizer.save(tmp_path / str(number))
        given = {"chunks": chunks.tolist(), "state": None if state is None else state.tolist()}
        (tmp_path / str(number) / "given.json").write_text(json.dumps(given))
        tokenizers.append(tokenizer)
        inputs.append((chunks, state))

    found = run(ENCODE_AND_DECODE, *(tmp_path / str(n) for n in range(len(cases))))

    heavy = {"pydantic", "yaml", "scipy", "h5py", "datasets", "pyarrow", "rich", "typer", "cv2"}
    assert not set(found["modules"]) & heavy
    for tokenizer, (chunks, state), result in zip(tokenizers, inputs, found["results"], strict=True):
        codes = TokenRows.of(result["codes"])
        wanted = tokenizer.encode(chunks, state)
        assert [wanted[i].tolist() for i in range(len(chunks))] == result["codes"]
        np.testing.assert_array_equal(result["decoded"], tokenizer.decode(codes, state))
        assert "is 1048576; must be" in result["refused"]
        assert all(n > 0 for n in result["repaired"])
        assert np.isfinite(result["relaxed"]).all()
        represented = tokenizer.representation.represent(chunks, state)
        error = np.abs(tokenizer.decode_represented(codes) - represented)
        is_kept = ~tokenizer.is_clipped(represented)
        assert (error[is_kept] <= tokenizer.error_bound(represented)[is_kept]).all()


@pytest.mark.parametrize("representation", ["recorded", "chunk_relative"])
def test_the_codes_of_an_export_are_its_actions_again(
    sample_dataset: Path, representation: Literal["recorded", "chunk_relative"], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    from vladata.exporters.huggingface import ExportOptions, export

    out, options = tmp_path / "out", ExportOptions(horizon=4, representation=representation, chunk_end="drop")
    export(vladata.open(sample_dataset), out, options, workers=0)
    (file,) = out.glob("data/executor/train-*")
    rows = pq.read_table(file, columns=["action_codes", "action_chunk", "observation.state"]).to_pylist()
    tokenizer = ActionTokenizer.load(out)
    state = [r["observation.state"] for r in rows] if tokenizer.representation.needs_state else None
    given = {"codes": [r["action_codes"] for r in rows], "state": state}
    (out / "given.json").write_text(json.dumps(given))

    decoded = run(DECODE, out)

    learned = np.array([r["action_chunk"] for r in rows])
    is_kept = ~tokenizer.is_clipped(learned)
    recorded = tokenizer.representation.restore(learned, state)
    # Half a bin, and what putting the reference back rounds; the arm has no rotations.
    bound = tokenizer.error_bound(learned) + 1e-9
    assert is_kept.mean() > 0.9
    assert (np.abs(np.array(decoded) - recorded)[is_kept] <= bound[is_kept]).all()


def test_the_tokenizer_is_an_attribute_of_the_package_that_is_imported_when_asked_for() -> None:
    assert vladata.ActionTokenizer is ActionTokenizer
    with pytest.raises(AttributeError, match="module 'vladata' has no attribute 'Nothing'"):
        vladata.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_deltas_are_restored_step_by_step_with_what_the_robot_sees() -> None:
    convention = RotationConvention.QUATERNION_WXYZ
    tokenizer = build("uniform_bins", Mode.DELTA, convention)
    chunks, states = windows(rows_of(convention, 12, 2))[:1], windows(rows_of(convention, 12, 3))[:1]
    codes = tokenizer.encode(chunks, states)

    learned = tokenizer.decode_represented(codes)
    steps = [tokenizer.representation.restore(learned[:, h : h + 1], states[:, h])[0, 0] for h in range(H)]

    np.testing.assert_array_equal(steps, tokenizer.decode(codes, states)[0])


class TestCheck:
    def tokenizer(self) -> ActionTokenizer:
        return build("openvla_bins", Mode.CHUNK_RELATIVE, RotationConvention.EULER_XYZ)

    def test_what_is_the_same_passes_and_what_is_not_given_is_not_compared(self) -> None:
        tokenizer = self.tokenizer()
        units = ["m"] * 3 + ["rad"] * 3 + ["1"]

        tokenizer.check()
        tokenizer.check(names=list(tokenizer.names), units=units, rate_hz=10.0, embodiment_digest="0" * 64)
        tokenizer.check(state_names=[n.replace("target", "seen") for n in tokenizer.names])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"names": ["target.x"]}, r"^there are 1 dimensions; must be 7: target.x, target.y, "),
            (
                {"names": ["target.y", "target.x", *(f"target.{n}" for n in ("z", "r0", "r1", "r2", "gripper"))]},
                r"^dimensions\[0\] is 'target.y'; must be 'target.x', as the tokenizer has it$",
            ),
            ({"units": ["m"] * 3 + ["deg"] * 3 + ["1"]}, r"^units\[3\] is 'deg'; must be 'rad', "),
            ({"state_names": [f"other.{n}" for n in range(7)]}, r"^observations\[0\] is 'other.0'; must be 'seen.x', "),
            ({"rate_hz": 20.0}, r"^the rate is 20.0 Hz; must be 10.0 Hz, as the tokenizer was made for$"),
            ({"rate_hz": float("nan")}, r"^the rate is nan Hz; must be 10.0 Hz, "),
            ({"embodiment_digest": "1" * 64}, r"^the embodiment has the digest 1{64}; must be the tokenizer's: arm, 0"),
        ],
    )
    def test_a_difference_is_refused(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(TokenizeError, match=message):
            self.tokenizer().check(**given)

    def test_observations_do_not_matter_where_nothing_is_relative_to_them(self) -> None:
        build("openvla_bins", None, RotationConvention.EULER_XYZ).check(state_names=["anything"])

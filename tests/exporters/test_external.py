"""Image-text data of strangers: what is taken, what is refused and counted, and that no image is in two splits."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vladata import images
from vladata.errors import ExportError
from vladata.exporters._external import ChooseUnit, Chosen, check_external, choose, read_image, wanted_rows
from vladata.exporters._options import ExternalData
from vladata.exporters._wording import Wording

SPLITS = {"train": 0.5, "validation": 0.5}
WORDING = Wording.build("vqa_chat", "vqa", None)


def picture(number: int, suffix: str = ".jpg") -> bytes:
    image = np.full((24, 32, 3), 10 * (number % 25), np.uint8)
    image[number % 24] = 255
    return images.encode_jpeg(image) if suffix == ".jpg" else images.encode_png(image)


def said(number: int, question: str = "<image>\nWhat is this?", answer: str = "") -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer or f"Picture {number}."}]


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "image": f"{number}.jpg", "conversations": said(number), **changes}


def write_llava(folder: Path, rows: list[Any], pictures: int = 12) -> ExternalData:
    (folder / "images").mkdir(parents=True)
    for number in range(pictures):
        (folder / "images" / f"{number}.jpg").write_bytes(picture(number))
    (folder / "data.json").write_text(json.dumps(rows))
    return ExternalData(name="others", path=folder, format="llava", share=0.5)


def write_folder(folder: Path, count: int = 12) -> ExternalData:
    (folder / "sub").mkdir(parents=True)
    for number in range(count):
        (folder / "sub" / f"{number:02d}.png").write_bytes(picture(number, ".png"))
        (folder / "sub" / f"{number:02d}.txt").write_text(f"A picture, number {number}.\n")
    return ExternalData(name="captions", path=folder, format="folder", share=0.25)


def chosen(external: ExternalData, wanted: int = 100, seed: int = 0) -> Chosen:
    return choose(
        ChooseUnit(external=external, wanted=dict.fromkeys(SPLITS, wanted), splits=SPLITS, seed=seed, wording=WORDING)
    )


def names(found: Chosen) -> set[str]:
    return {r.name for rows in found.rows.values() for r in rows}


class TestLlava:
    def test_rows_are_split_and_each_is_there_once(self, tmp_path: Path) -> None:
        found = chosen(write_llava(tmp_path / "o", [row(n) for n in range(12)]))
        assert names(found) == {f"row {n} (r{n})" for n in range(12)}
        assert min(len(rows) for rows in found.rows.values()) >= 1
        assert (found.num_read, found.refused) == (12, {})

    def test_all_turns_are_kept_and_the_placeholder_is_not_text(self, tmp_path: Path) -> None:
        talk = [*said(0), {"from": "human", "value": "And now?"}, {"from": "gpt", "value": "The same."}]
        (found,) = [
            r for rows in chosen(write_llava(tmp_path / "o", [row(0, conversations=talk)])).rows.values() for r in rows
        ]
        assert found.turns == (
            ("user", "What is this?"),
            ("assistant", "Picture 0."),
            ("user", "And now?"),
            ("assistant", "The same."),
        )
        assert read_image(found, tmp_path / "o") == picture(0)

    def test_text_alone_is_a_row(self, tmp_path: Path) -> None:
        rows = [{"id": n, "conversations": said(n, "What is two and two?")} for n in range(4)]
        found = chosen(write_llava(tmp_path / "o", rows))
        assert [r.image for own in found.rows.values() for r in own] == [None] * 4

    def test_as_many_as_wanted_are_taken_by_hash(self, tmp_path: Path) -> None:
        external = write_llava(tmp_path / "o", [row(n) for n in range(12)])
        found = chosen(external, wanted=2)
        assert [len(rows) for rows in found.rows.values()] == [2, 2]
        assert found == chosen(external, wanted=2)
        assert names(found) != names(chosen(external, wanted=2, seed=1))

    def test_more_rows_do_not_move_an_image_to_another_split(self, tmp_path: Path) -> None:
        few = chosen(write_llava(tmp_path / "a", [row(n) for n in range(6)]))
        many = chosen(write_llava(tmp_path / "b", [row(n) for n in range(12)]))
        for split in SPLITS:
            assert {r.image_sha256 for r in few.rows[split]} <= {r.image_sha256 for r in many.rows[split]}

    def test_one_image_under_many_names_is_in_one_split(self, tmp_path: Path) -> None:
        external = write_llava(tmp_path / "o", [row(n, conversations=said(n)) for n in range(12)])
        for number in range(12):
            (tmp_path / "o/images" / f"{number}.jpg").write_bytes(picture(number % 3))
        found = chosen(external)
        shas = {split: {r.image_sha256 for r in rows} for split, rows in found.rows.items()}
        assert shas["train"].isdisjoint(shas["validation"])
        assert len(names(found)) == 12

    def test_one_object_a_line_is_read_too_and_damaged_lines_are_counted(self, tmp_path: Path) -> None:
        folder = tmp_path / "o"
        external = write_llava(folder, [])
        lines = [json.dumps(row(0)), "{broken", "", '{"id": ' + "[" * 100_000, json.dumps(row(1)), "x" * 5_000_000]
        (folder / "data.json").unlink()
        (folder / "data.jsonl").write_text("\n".join(lines))
        found = chosen(external)
        assert names(found) == {"row 0 (r0)", "row 3 (r1)"}
        assert found.refused == {"line has more than 4,194,304 bytes": 1, "line is not JSON": 2}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"image": "../../secret.jpg"}, "image path leaves its folder, or is no plain path"),
            ({"image": "/etc/passwd"}, "image path leaves its folder, or is no plain path"),
            ({"image": "a\\b.jpg"}, "image path leaves its folder, or is no plain path"),
            ({"image": "link.jpg"}, "image path leaves its folder, or is no plain path"),
            ({"image": "none.jpg"}, "image is missing"),
            ({"image": "x" * 300 + ".jpg"}, "image can't be read"),
            ({"image": "text.jpg"}, "image is neither JPEG nor PNG, or its header is damaged"),
            ({"image": "huge.png"}, "image declares too many pixels"),
            ({"image": "deep.png"}, "image has more than 8 bits a channel"),
            ({"image": "cut.jpg"}, "image can't be decoded"),
            ({"image": "folder.jpg"}, "image is no regular file of at most 33,554,432 bytes"),
            ({"image": "pipe.jpg"}, "image is no regular file of at most 33,554,432 bytes"),
            ({"image": "big.jpg"}, "image is no regular file of at most 33,554,432 bytes"),
            ({"image": 7}, "image is no text"),
            ({"image": ["1.jpg", "2.jpg"]}, "row has several images"),
            ({"conversations": None}, "conversations are no list of 2 to 64 turns"),
            ({"conversations": said(0)[:1]}, "conversations are no list of 2 to 64 turns"),
            ({"conversations": said(0) * 40}, "conversations are no list of 2 to 64 turns"),
            ({"conversations": said(0)[::-1]}, "turns are not human and gpt in turn"),
            ({"conversations": ["hi", "ho"]}, "turns are not human and gpt in turn"),
            ({"conversations": [*said(0), said(0)[0]]}, "the last turn is not gpt's"),
            ({"conversations": said(0, answer=" \n")}, "a turn is empty"),
            ({"conversations": said(0, "<image>")}, "a turn is empty"),
            ({"conversations": said(0, answer="x" * 20_001)}, "a turn has more than 20,000 characters"),
            (
                {"conversations": said(0, "What is this?")},
                "<image> does not stand once, in the first question, for the one image",
            ),
            (
                {"image": None},
                "<image> does not stand once, in the first question, for the one image",
            ),
            (
                {"conversations": said(0, "<image> or <image>?")},
                "<image> does not stand once, in the first question, for the one image",
            ),
            ({"weight": float("nan")}, "row holds NaN, infinity, half a character, or is nested too deep"),
            (
                {"conversations": said(0, answer="\ud800")},
                "row holds NaN, infinity, half a character, or is nested too deep",
            ),
        ],
    )
    def test_a_row_that_breaks_a_rule_is_named_and_counted(
        self, tmp_path: Path, changes: dict[str, Any], reason: str
    ) -> None:
        external = write_llava(tmp_path / "o", [row(0, **changes), row(1)])
        place_traps(tmp_path)
        found = chosen(external)
        assert names(found) == {"row 1 (r1)"}
        assert found.refused == {reason: 1}
        assert found.examples == (f"row 0 (r0): {reason}",)

    def test_rows_that_are_no_objects_and_repeated_ones_are_counted(self, tmp_path: Path) -> None:
        found = chosen(write_llava(tmp_path / "o", [7, None, [], row(1), row(1)]))
        assert found.refused == {"row comes twice": 1, "row is no object": 3}

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("[{", "not JSON at line 1"),
            ("{}", "holds a dict; must be a list"),
            ("[" * 200_000 + "]" * 200_000, "nested too deep"),
            ("[" + "9" * 5000 + "]", "Exceeds the limit"),
        ],
    )
    def test_a_file_that_can_not_be_read_is_an_error(self, tmp_path: Path, text: str, match: str) -> None:
        external = write_llava(tmp_path / "o", [])
        (tmp_path / "o/data.json").write_text(text)
        with pytest.raises(ExportError, match=f"others: .*{match}"):
            chosen(external)

    def test_which_file_is_meant_must_be_plain(self, tmp_path: Path) -> None:
        external = write_llava(tmp_path / "o", [])
        (tmp_path / "o/more.json").write_text("[]")
        with pytest.raises(ExportError, match=r"others: 2 files with \.json or \.jsonl"):
            chosen(external)

    def test_an_id_can_not_steer_the_terminal(self, tmp_path: Path) -> None:
        found = chosen(write_llava(tmp_path / "o", [row(0, id="\x1b[2J\n" + "x" * 500, image="none.jpg")]))
        (example,) = found.examples
        assert example.isprintable()
        assert len(example) < 200


def place_traps(tmp_path: Path) -> None:
    folder = tmp_path / "o/images"
    (tmp_path / "secret.jpg").write_bytes(picture(0))
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "text.jpg").write_bytes(b"RIFF....WEBPVP8 ")
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    (folder / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    )
    (folder / "deep.png").write_bytes(images.encode_png(np.zeros((4, 4), np.uint16)))
    (folder / "cut.jpg").write_bytes(picture(0)[:-200])
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "big.jpg").open("wb") as file:
        file.write(picture(0))
        file.truncate((32 << 20) + 1)


class TestFolder:
    def test_texts_of_the_same_name_are_captions(self, tmp_path: Path) -> None:
        found = chosen(write_folder(tmp_path / "f"))
        rows = {r.name: r for own in found.rows.values() for r in own}
        assert rows.keys() == {f"sub/{n:02d}.png" for n in range(12)}
        assert rows["sub/03.png"].turns[1] == ("assistant", "A picture, number 3.")
        assert all(r.turns[0][1] for r in rows.values())

    def test_images_without_a_caption_and_of_other_formats_are_counted(self, tmp_path: Path) -> None:
        external = write_folder(tmp_path / "f", 2)
        (tmp_path / "f/alone.jpg").write_bytes(picture(0))
        for name, text in (("w.webp", b"x"), ("long.jpg", b"x" * 70_000), ("latin.jpg", b"\xe4")):
            (tmp_path / "f" / name).write_bytes(b"RIFF....WEBP" if name == "w.webp" else picture(0))
            (tmp_path / "f" / name).with_suffix(".txt").write_bytes(text)
        (tmp_path / "secret.txt").write_text("secret")
        (tmp_path / "f/spy.jpg").write_bytes(picture(0))
        (tmp_path / "f/spy.txt").symlink_to(tmp_path / "secret.txt")
        found = chosen(external)
        assert len(names(found)) == 2
        assert found.refused == {
            "caption is too long, or no UTF-8 text": 2,
            "image has no text of its name": 2,
            "image is neither JPEG nor PNG, or its header is damaged": 1,
        }

    def test_metadata_of_an_image_folder(self, tmp_path: Path) -> None:
        external = write_folder(tmp_path / "f", 3)
        lines = [
            {"file_name": "sub/00.png", "text": "The first."},
            {"file_name": "sub/01.png", "caption": "The second."},
            {"file_name": "../f/sub/02.png", "text": "Out."},
            {"text": "No name."},
            {"file_name": "sub/02.png"},
        ]
        (tmp_path / "f/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nnot json\n")
        found = chosen(external)
        assert {r.turns[1][1] for own in found.rows.values() for r in own} == {"The first.", "The second."}
        assert sum(found.refused.values()) == 4

    def test_links_to_folders_stay_closed(self, tmp_path: Path) -> None:
        external = write_folder(tmp_path / "f", 1)
        (tmp_path / "f/again").symlink_to(tmp_path / "f/sub")
        assert chosen(external).num_read == 1

    def test_a_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        external = ExternalData(name="captions", path=tmp_path / "no", format="folder", share=0.5)
        with pytest.raises(ExportError, match="captions: no is no folder"):
            chosen(external)
        external = ExternalData(name="others", path=tmp_path / "no", format="llava", share=0.5)
        with pytest.raises(ExportError, match="others: no is not there; must be a file or a folder"):
            chosen(external)


class TestShares:
    def sources(self, *shares: float) -> list[ExternalData]:
        return [ExternalData(name=f"s{n}", path=Path(), format="llava", share=s) for n, s in enumerate(shares)]

    def test_a_share_is_of_all_rows_of_the_split(self) -> None:
        assert wanted_rows({"train": 50, "validation": 5}, self.sources(0.25, 0.25)) == {
            "s0": {"train": 25, "validation": 3},
            "s1": {"train": 25, "validation": 3},
        }

    @pytest.mark.parametrize("shares", [(0.0,), (1.0,), (0.5, 0.5)])
    def test_impossible_shares_are_refused(self, shares: tuple[float, ...]) -> None:
        with pytest.raises(ExportError, match="share"):
            check_external(self.sources(*shares))

    def test_names_are_their_own(self) -> None:
        twice = self.sources(0.1)[0]
        with pytest.raises(ExportError, match="a name of its own"):
            check_external([twice, twice])

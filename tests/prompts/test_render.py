"""Prompts as text and as ids: equal to the original implementations, and what may not go in."""

import json
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.prompts import Renderer, parse_template, read_template
from vladata.prompts._state import state_words
from vladata.tokenizers import TokenRows
from vladata.vocabulary import (
    BaseTokenizer,
    Vocabulary,
    VocabularyKind,
    added_vocabulary,
    code_text,
    tail_vocabulary,
    text_vocabulary,
)

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
OPENVLA: list[dict[str, str]] = json.loads((GOLDEN / "openvla_prompts.json").read_text())
OPENPI: list[dict[str, Any]] = json.loads((GOLDEN / "openpi_prompts.json").read_text())

VICUNA = """
name: vicuna
kind: executor
description: OpenVLA v0.1
instruction: [lower]
prompt:
  - text: "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \\
      detailed, and polite answers to the user's questions. USER: What action should the robot take to {task}? \\
      ASSISTANT:"
    begin: true
target: [{text: " ", loss: false}, {put: actions}, {put: end_of_text}]
"""
QWEN = """
name: qwen
kind: executor
description: MiniVLA
instruction: [lower]
prompt:
  - text: "<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n\\
      <|im_start|>user\\nWhat action should the robot take to {task}?<|im_end|>\\n<|im_start|>assistant\\n"
target: [{put: actions}, {put: end_of_text}]
"""


def golden(builder: str) -> list[dict[str, str]]:
    return [case for case in OPENVLA if case["builder"] == builder]


def template(text: str):
    return parse_template(text.encode(), "test.yaml")


class TestOpenvla:
    @pytest.mark.parametrize("case", golden("PurePromptBuilder"), ids=lambda c: c["instruction"])
    def test_ids_are_those_of_the_whole_text(self, llama: BaseTokenizer, case: dict[str, str]) -> None:
        vocabulary = tail_vocabulary(256, llama)
        renderer = Renderer.build(read_template("openvla"), llama, vocabulary, (2,))
        codes = [vocabulary.tokens.index(c) for c in case["answer"]]

        rendered = renderer.actions([{"task": case["instruction"]}], TokenRows.of([codes]))

        # What the original does: the actions as text, and all of it encoded at once.
        whole = llama.tokenizer.encode(case["prompt_full"], add_special_tokens=True).ids
        assert rendered.input_ids is not None
        assert rendered.labels is not None
        assert rendered.loss_mask is not None
        assert rendered.input_ids[0].tolist() == whole
        space = llama.vocabulary["▁"]
        assert whole[-4:] == [space, *(p[0] for p in (vocabulary.ids[c] for c in codes)), 2]
        assert rendered.labels[0].tolist() == [-100] * (len(whole) - 3) + whole[-3:]
        assert rendered.loss_mask.tolist() == [False] * (len(whole) - 3) + [True] * 3
        assert rendered.prompt == [case["prompt_after_human_turn"]]
        assert rendered.target is None

    def test_a_robot_goes_on_from_the_ids_before_the_action(self, llama: BaseTokenizer) -> None:
        vocabulary = tail_vocabulary(256, llama)
        renderer = Renderer.build(read_template("openvla"), llama, vocabulary, (2,))
        fields = [{"task": "fold"}, {"task": "put the red cup on the plate"}]

        given = renderer.given(fields)

        trained = renderer.actions(fields, TokenRows.of([[1, 2], [3, 4]]))
        assert trained.input_ids is not None
        for row in range(2):
            assert given[row].tolist() == trained.input_ids[row][:-3].tolist()
            assert given[row][-1] == llama.vocabulary["▁"]

    @pytest.mark.parametrize("case", golden("PurePromptBuilder"), ids=lambda c: c["instruction"])
    def test_the_texts_are_the_originals(self, case: dict[str, str]) -> None:
        words = code_text(VocabularyKind.ADDED, 256)
        renderer = Renderer.build(read_template("openvla"), code_text=words)

        rendered = renderer.actions([{"task": case["instruction"]}], TokenRows.of([[3, 255]]))

        assert rendered.prompt == [case["potential_prompt"]]
        assert rendered.target == [" <action_003><action_255>"]
        assert rendered.input_ids is None

    @pytest.mark.parametrize(
        ("text", "builder", "end"),
        [(VICUNA, "VicunaV15ChatPromptBuilder", "</s>"), (QWEN, "QwenPromptBuilder", "<|im_end|><|endoftext|>")],
    )
    def test_the_language_can_say_the_other_builders(self, text: str, builder: str, end: str) -> None:
        renderer = Renderer.build(template(text))
        for case in golden(builder):
            rendered = renderer.actions([{"task": case["instruction"]}], TokenRows.of([[1]]))
            gap = " " if builder.startswith("Vicuna") else ""
            assert rendered.prompt == [case["prompt_after_human_turn"]]
            assert rendered.prompt[0] + gap + case["answer"] + end == case["prompt_full"]


class TestOpenpi:
    @pytest.mark.parametrize("case", [c for c in OPENPI if c["cls"] == "FASTTokenizer"], ids=lambda c: c["prompt"])
    def test_ids_and_masks_are_the_originals(self, gemma: BaseTokenizer, case: dict[str, Any]) -> None:
        chosen = read_template("pi0_fast")
        assert chosen.state is not None
        state = state_words(chosen.state, np.array([case["state"]], dtype=np.float32).astype(np.float64))[0]
        vocabulary = tail_vocabulary(1024, gemma, skip=128)
        codes = [c for c in case["fast_ids"] if c < 1024]
        renderer = Renderer.build(chosen, gemma, vocabulary, (1,))

        rendered = renderer.actions([{"task": case["prompt"], "state": state}], TokenRows.of([codes]))

        calls = case["sp_calls"]
        assert rendered.prompt == [calls[0][0]]
        parts = [
            ([2] if add_bos else []) + list(gemma.encode([text])[0]) + ([1] if add_eos else [])
            for text, add_bos, add_eos in calls
        ]
        actions = [gemma.facts.vocab_size - 1 - 128 - c for c in codes]
        assert rendered.input_ids is not None
        assert rendered.loss_mask is not None
        assert rendered.input_ids[0].tolist() == [*parts[0], *parts[1], *actions, *parts[2]]
        # As in the original, the loss begins where what is not the prompt begins.
        first = len(parts[0])
        assert rendered.loss_mask.tolist() == [False] * first + [True] * (len(rendered.input_ids[0]) - first)
        # At inference the model says `Action: ` itself.
        assert renderer.given([{"task": case["prompt"], "state": state}])[0].tolist() == parts[0]

    def test_the_ids_count_down_as_in_the_original(self) -> None:
        case = next(c for c in OPENPI if c["cls"] == "FASTTokenizer")
        vocabulary = tail_vocabulary(2048, vocab_size=257152, skip=128)

        assert vocabulary.encode(np.array([case["fast_ids"]]))[0].tolist() == case["mapped_ids"]

    @pytest.mark.parametrize("case", [c for c in OPENPI if "pi05" in c["cls"]], ids=lambda c: c["prompt"])
    def test_pi05_is_a_prompt_alone(self, gemma: BaseTokenizer, case: dict[str, Any]) -> None:
        chosen = read_template("pi05")
        assert chosen.state is not None
        state = state_words(chosen.state, np.array([case["state"]]))[0]

        rendered = Renderer.build(chosen, gemma).actions(
            [{"task": case["prompt"], "state": state}], TokenRows.of([[5, 6]])
        )

        assert rendered.prompt == [case["sp_calls"][0][0]]
        assert rendered.input_ids is not None
        assert rendered.loss_mask is not None
        assert rendered.input_ids[0].tolist() == [2, *gemma.encode(rendered.prompt)[0]]
        assert not rendered.loss_mask.any()


class TestText:
    @pytest.mark.parametrize("name", ["byte_level", "gemma"])
    def test_the_ids_of_rt2_are_those_of_its_text(self, name: str, request: pytest.FixtureRequest) -> None:
        base: BaseTokenizer = request.getfixturevalue(name)
        vocabulary = text_vocabulary(256, base, space_before=True)
        renderer = Renderer.build(read_template("rt2"), base, vocabulary)
        codes = TokenRows.of([[1, 128, 91, 241, 5, 101, 127], [0, 255]])

        rendered = renderer.actions([{"task": "fold the shirt"}, {"task": "put the cup"}], codes)

        assert rendered.target == [" 1 128 91 241 5 101 127", " 0 255"]
        assert rendered.input_ids is not None
        for row, (prompt, target) in enumerate(zip(rendered.prompt, rendered.target, strict=True)):
            assert rendered.input_ids[row].tolist() == base.tokenizer.encode(prompt + target).ids

    def test_a_loss_of_codes_is_the_loss_of_all_their_ids(self, byte_level: BaseTokenizer) -> None:
        vocabulary = text_vocabulary(256, byte_level, space_before=True)
        renderer = Renderer.build(read_template("rt2"), byte_level, vocabulary, (0,))
        codes = TokenRows.of([[251, 7], [3]])

        rendered = renderer.actions([{"task": "a"}, {"task": "b"}], codes, np.array([False, True, True]))

        assert rendered.labels is not None
        counts = vocabulary.num_ids(codes)
        kept = [label for label in rendered.labels.values.tolist() if label != -100]
        assert len(kept) == counts[1] + 1 + counts[2] + 1


class TestChat:
    def test_messages_have_an_image_for_each_camera(self, byte_level: BaseTokenizer) -> None:
        vocabulary = added_vocabulary(16, byte_level, start_end=True)
        renderer = Renderer.build(read_template("chat"), byte_level, vocabulary)

        rendered = renderer.actions([{"task": "fold the shirt"}], TokenRows.of([[3, 15]]), images=["front", "wrist"])

        image = {"type": "image", "text": None}
        question = "What action should the robot take to fold the shirt?"
        assert rendered.messages_prompt == [
            [{"role": "user", "content": [image, image, {"type": "text", "text": question}]}]
        ]
        answer = "<action_start><action_03><action_15><action_end>"
        assert rendered.messages_completion == [[{"role": "assistant", "content": [{"type": "text", "text": answer}]}]]
        assert (rendered.prompt, rendered.target) == ([question], [answer])
        assert rendered.action_ids is not None
        assert rendered.action_ids[0].tolist() == [vocabulary.ids[3][0], vocabulary.ids[15][0]]
        assert rendered.input_ids is None

    def test_tail_tokens_have_no_text_for_it(self, llama: BaseTokenizer) -> None:
        with pytest.raises(TokenizeError, match="prompt chat gives messages, and the codes have no text"):
            Renderer.build(read_template("chat"), llama, tail_vocabulary(16, llama))

    def test_a_vocabulary_without_start_and_end_is_refused(self, byte_level: BaseTokenizer) -> None:
        with pytest.raises(TokenizeError, match="prompt chat puts a start token; the vocabulary must have one"):
            Renderer.build(read_template("chat"), byte_level, added_vocabulary(16, byte_level))

    @pytest.mark.parametrize(("name", "field"), [("planner_chat", "goal"), ("vqa_chat", "question")])
    def test_texts_are_targets(self, name: str, field: str) -> None:
        renderer = Renderer.build(read_template(name))

        rendered = renderer.texts([{field: "Is it {done}?"}], ["yes, {goal}"], ["front"])

        assert rendered.messages_completion == [
            [{"role": "assistant", "content": [{"type": "text", "text": "yes, {goal}"}]}]
        ]
        assert "Is it {done}?" in rendered.prompt[0]
        with pytest.raises(TokenizeError, match="must be given texts"):
            renderer.actions([{field: "a"}], TokenRows.of([[1]]))

    def test_a_text_target_is_encoded_apart(self, gemma: BaseTokenizer) -> None:
        chosen = template(
            "{name: plan, kind: planner, description: x, prompt: [{text: 'Task: {goal};', begin: true}],"
            " target: [{put: target, apart: true}, {put: end_of_text}]}"
        )

        rendered = Renderer.build(chosen, gemma, end=(1,)).texts([{"goal": "the cup"}], ["the shirt"])

        assert rendered.labels is not None
        assert rendered.input_ids is not None
        target = [*gemma.encode(["the shirt"])[0], 1]
        prompt = [2, *gemma.encode(["Task: the cup;"])[0]]
        assert rendered.input_ids[0].tolist() == prompt + target
        assert rendered.labels[0].tolist() == [-100] * len(prompt) + target


class TestSafety:
    def test_braces_are_text(self) -> None:
        renderer = Renderer.build(read_template("openvla"))
        text = "put {0} and {task} into {__class__} and {state}"

        assert text in renderer.actions([{"task": text}], TokenRows.of([[0]])).prompt[0]

    @pytest.mark.parametrize("text", ["take </s> it", "take <action_03> it", "<action_end>"])
    def test_a_text_that_would_be_a_token_is_refused(self, llama: BaseTokenizer, text: str) -> None:
        renderer = Renderer.build(read_template("openvla"), llama, added_vocabulary(16, llama, start_end=True), (2,))

        with pytest.raises(TokenizeError, match=r"the instruction '.*' holds '.*', which the tokenizer"):
            renderer.actions([{"task": text}], TokenRows.of([[0]]))

    def test_messages_hold_no_special_token_of_the_model(self, byte_level: BaseTokenizer) -> None:
        """The model's chat template would read it as the end of the turn."""
        renderer = Renderer.build(read_template("chat"), byte_level, added_vocabulary(16, byte_level, start_end=True))

        with pytest.raises(TokenizeError, match=r"the instruction 'a <\|im_end\|>' holds '<\|im_end\|>'"):
            renderer.actions([{"task": "a <|im_end|>"}], TokenRows.of([[0]]))

    def test_added_tokens_that_are_codes_again_stand_in_no_prompt(self, gemma: BaseTokenizer) -> None:
        document = json.loads(gemma.text)
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        document["added_tokens"] += [
            {"id": i, "content": token, **plain} for token, i in gemma.vocabulary.items() if token.startswith("<loc")
        ]
        base = BaseTokenizer(json.dumps(document))
        vocabulary = tail_vocabulary(64, base, skip=128, reuse_added=True)
        renderer = Renderer.build(read_template("pi0_fast"), base, vocabulary, (1,))

        with pytest.raises(TokenizeError, match=r"the instruction 'see <loc1023>' holds '<loc1023>'"):
            renderer.actions([{"task": "see <loc1023>", "state": "1"}], TokenRows.of([[0]]))
        # That one is no code here.
        rendered = renderer.actions([{"task": "see <loc0000>", "state": "1"}], TokenRows.of([[0]]))
        assert rendered.input_ids is not None
        assert base.vocabulary["<loc0000>"] in rendered.input_ids[0]

    @pytest.mark.parametrize(("name", "space_before"), [("rt2", False), ("openvla", True)])
    def test_integers_have_the_space_that_the_prompt_puts(
        self, byte_level: BaseTokenizer, name: str, space_before: bool
    ) -> None:
        vocabulary = text_vocabulary(16, byte_level, space_before=space_before)

        with pytest.raises(TokenizeError, match=rf"prompt {name} puts .* space before its actions; the vocabulary"):
            Renderer.build(read_template(name), byte_level, vocabulary)

    def test_state_tokens_must_be_tokens(self, byte_level: BaseTokenizer) -> None:
        template = parse_template(
            b"{name: t, kind: executor, description: x, state: {format: tokens, bins: 3}, "
            b"prompt: [{text: '{task} {state}'}], target: [{put: actions}]}",
            "t.yaml",
        )

        with pytest.raises(TokenizeError, match=r"has not 3 of the state tokens of prompt t, the first: <state_0>;"):
            Renderer.build(template, byte_level)
        has = BaseTokenizer(byte_level.extended([f"<state_{k}>" for k in range(3)]).to_str())
        assert Renderer.build(template, has).given([{"task": "a", "state": "<state_2>"}])[0][-1] == max(has.ids)

    def test_a_target_that_has_no_place_is_refused(self) -> None:
        with pytest.raises(TokenizeError, match="prompt pi05 has no text as its target; must be given codes"):
            Renderer.build(read_template("pi05")).texts([{"task": "a", "state": "1"}], ["lost"])

    def test_without_a_tokenizer_there_are_no_ids_to_go_on_from(self) -> None:
        with pytest.raises(TokenizeError, match="prompt openvla gives no ids here"):
            Renderer.build(read_template("openvla")).given([{"task": "a"}])

    def test_a_missing_field_is_named(self) -> None:
        with pytest.raises(TokenizeError, match=r"prompt pi0_fast needs \{state\}; it was not given"):
            Renderer.build(read_template("pi0_fast")).actions([{"task": "a"}], TokenRows.of([[0]]))

    def test_the_subtask_goes_before_the_task(self) -> None:
        renderer = Renderer.build(read_template("openvla"))
        rows = [{"task": "tidy up", "subtask": subtask} for subtask in ("grasp", "", " ")]

        prompts = renderer.actions(rows, TokenRows.of([[0], [0], [0]])).prompt

        assert "grasp?" in prompts[0]
        assert "tidy up?" in prompts[1]
        assert "tidy up?" in prompts[2]

    def test_ids_that_moved_are_refused(self, llama: BaseTokenizer, byte_level: BaseTokenizer) -> None:
        vocabulary = tail_vocabulary(16, byte_level)

        with pytest.raises(TokenizeError, match="the ids of the codes do not fit the base tokenizer: code 0: "):
            Renderer.build(read_template("openvla"), llama, vocabulary)

    def test_a_renderer_travels_and_is_light(self, llama: BaseTokenizer, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text(llama.text)
        read = BaseTokenizer.read(tmp_path)
        vocabulary = added_vocabulary(16, read)
        renderer = Renderer.build(read_template("openvla"), read, vocabulary, (2,))
        sent = bytes(ForkingPickler.dumps(renderer))

        again = ForkingPickler.loads(sent)

        assert "贵".encode() not in sent
        assert "贵" in llama.text
        fields, codes = [{"task": "fold"}], TokenRows.of([[1, 2]])
        one, other = renderer.actions(fields, codes), again.actions(fields, codes)
        assert one.input_ids is not None
        assert other.input_ids is not None
        np.testing.assert_array_equal(one.input_ids.values, other.input_ids.values)

    def test_a_tokenizer_that_was_exchanged_is_refused(
        self, llama: BaseTokenizer, byte_level: BaseTokenizer, tmp_path: Path
    ) -> None:
        (tmp_path / "tokenizer.json").write_text(llama.text)
        renderer = Renderer.build(read_template("openvla"), BaseTokenizer.read(tmp_path), None, ())
        (tmp_path / "tokenizer.json").write_text(byte_level.text)

        with pytest.raises(TokenizeError, match=r"tokenizer\.json was changed while it was in use"):
            renderer.actions([{"task": "a"}], TokenRows.of([[1]]))

    @settings(deadline=None)  # the first example loads the tokenizer
    @given(st.lists(st.lists(st.integers(0, 15), max_size=6), min_size=1, max_size=5), st.data())
    def test_the_codes_come_back_out_of_the_ids(
        self, llama: BaseTokenizer, rows: list[list[int]], data: st.DataObject
    ) -> None:
        vocabulary: Vocabulary = added_vocabulary(16, llama)
        renderer = Renderer.build(read_template("pi0_fast"), llama, vocabulary, (2,))
        letters = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=20)
        fields = [{"task": data.draw(letters), "state": "1 2"} for _ in rows]

        rendered = renderer.actions(fields, TokenRows.of(rows))

        assert rendered.input_ids is not None
        known = {p[0]: code for code, p in enumerate(vocabulary.ids)}
        for row, codes in enumerate(rows):
            assert [known[i] for i in rendered.input_ids[row].tolist() if i in known] == codes
            assert rendered.input_ids[row][0] == 1
            assert rendered.input_ids[row][-1] == 2

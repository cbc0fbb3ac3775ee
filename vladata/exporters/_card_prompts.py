"""The card's words about prompts: columns, template verbatim, and what the state in it means."""

import re
from collections.abc import Sequence

from ..action_tokenizer import ActionTokenizer
from ..text import printable
from ._markdown import code, table
from ._prompts import Prompts

__all__ = ["prompt_columns", "prompt_section"]


def prompt_columns(prompts: Prompts) -> list[list[str]]:
    """Rows of the table of columns: those that follow from prompt, vocabulary and base tokenizer."""
    about = (
        "of each code: false for padded targets" if prompts.is_stepwise else "of each code: true, for chunks are whole"
    )
    rows = [["`action_loss_mask`", "bool list", about]]
    if prompts.template.is_chat:
        rows += [
            ["`prompt`", "messages", "what the model is given"],
            ["`completion`", "messages", "what it gives"],
        ]
    else:
        rows.append(["`prompt`", "string", "what the model is given"])
        rows += [["`target`", "string", "what it gives, without the end of text"]] if prompts.has_target else []
    if prompts.has_action_ids:
        rows.append(["`action_token_ids`", "int32 list", "the codes as ids of the language model"])
    if prompts.has_ids:
        rows += [
            ["`input_ids`", "int32 list", "prompt, target and end of text as ids"],
            ["`labels`", "int32 list", "as `input_ids`, -100 where there is no loss"],
            ["`loss_mask`", "bool list", "of each of `input_ids`: whether it carries loss"],
        ]
    return rows


def prompt_section(prompts: Prompts, tokenizer: ActionTokenizer, most_ids: int, state_names: Sequence[str]) -> str:
    """The section of the prompt.

    Args:
        prompts: What the export was made with.
        tokenizer: Of the export.
        most_ids: `input_ids` of the longest row.
        state_names: Dimensions of the state.
    """
    text = printable(prompts.template.yaml, one_line=False).rstrip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    vocabulary = tokenizer.vocabulary
    ids = "without ids, for there was no base tokenizer"
    if vocabulary is not None:
        ids = f"with ids of the vocabulary {code(str(vocabulary.kind))}"
        if vocabulary.base is not None:
            ids += f" in the tokenizer {code(vocabulary.base.name)}, SHA-256 {code(vocabulary.base.sha256[:16])}"
    longest = f" The longest row has {most_ids:,} ids." if prompts.has_ids else ""
    state = ""
    if prompts.state is not None:
        ends = zip(prompts.state.normalization.low, prompts.state.normalization.high, strict=True)
        rows = [[code(n), f"{a:.5g}", f"{b:.5g}"] for n, (a, b) in zip(state_names, ends, strict=True)]
        state = f"\n\nThe state in the prompt is normalized:\n\n{table(['dimension', 'becomes -1', 'becomes 1'], rows)}"
    return (
        f"## Prompt\n\nTemplate {code(prompts.template.name)}, {ids}.{longest}\n\n{fence}yaml\n{text}\n{fence}{state}"
    )

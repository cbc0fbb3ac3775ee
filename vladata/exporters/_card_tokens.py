"""What the dataset card says of actions and tokens: of an export that is being made, and of one that gets other tokens.

These sections need only what an export stores about itself, so that they can be written anew without the episodes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from ..action_tokenizer import ActionTokenizer
from ..actions.statistics import Statistics
from ..errors import ExportError
from ._card_prompts import prompt_columns, prompt_section
from ._loss import Loss
from ._markdown import code, escape, table
from ._prompts import Prompts
from ._schema import IMAGES

__all__ = [
    "TokenFacts",
    "actions",
    "coded_as",
    "columns",
    "defects",
    "description",
    "lost",
    "recipe_section",
    "retokenized_card",
    "tags",
    "token_notes",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenFacts:
    """What is to be said."""

    tokenizer: ActionTokenizer
    statistics: Statistics
    """Of the targets of the first split."""
    first_split: str
    content_digest: str
    clipped: Mapping[str, int]
    """Clipped values by dimension, over all splits."""
    num_targets: int
    """Of all splits, not padded."""
    num_codes: int
    """Of all rows of all splits."""
    num_rows: int
    longest: int
    """Codes of the row that has most, over all splits."""
    loss: Loss
    notes: Sequence[str]
    prompts: Prompts
    most_ids: int
    """`input_ids` of the longest row; 0 where there are none."""
    state_names: Sequence[str]
    cameras: Sequence[str]
    recipe: Mapping[str, object] | None
    overridden: Sequence[str]
    """Options that are not the recipe's."""


def tags(scheme: str) -> list[str]:
    """Tags of the dataset on the Hub."""
    return ["robotics", "vla", "action-tokens", scheme]


def description(content_digest: str) -> str:
    """What the card's YAML says of the config `executor`.

    `datasets` keys its cache by this text and the patterns of the files, not by the files: without the digest it would
    go on serving the old rows after they were written anew in the same folder.
    """
    return f"image and instruction to action; content sha256 {content_digest}"


def coded_as(scheme: str) -> str:
    """How the card's first sentence names the scheme."""
    return f"as codes of the scheme {code(scheme)}"


def actions(facts: TokenFacts) -> str:
    """Ranges, statistics and clipped values of each dimension."""
    tokenizer, statistics = facts.tokenizer, facts.statistics
    normalization = tokenizer.normalization
    rows = []
    for d, dimension in enumerate(tokenizer.representation.dimensions):
        figures = [_number(getattr(statistics, f)[d]) for f in ("min", "q01", "mean", "std", "q99", "max")]
        is_used = normalization.mask[d]
        range_ = f"{_number(normalization.low[d])} to {_number(normalization.high[d])}" if is_used else "passes through"
        clipped = facts.clipped[dimension.name]
        share = f"{clipped:,} ({clipped / max(1, facts.num_targets):.2%})"
        mode = f"{dimension.mode}" + (f" (recorded {dimension.recorded_mode})" if dimension.is_converted else "")
        rows.append([code(dimension.name), str(dimension.unit), mode, *figures, range_, share])
    header = ["dimension", "unit", "mode", "min", "q01", "mean", "std", "q99", "max", "becomes -1 to 1"]
    header += ["clipped values"]
    return (
        f"## Actions\n\nTargets per chunk: {tokenizer.horizon}; where a chunk runs over the end of its episode it is "
        f"{'padded and marked in `action_is_pad`' if tokenizer.chunk_end == 'pad' else 'left out'}. Normalization "
        f"{code(str(normalization.mode))} with statistics of the {statistics.count:,} targets of split "
        f"{code(facts.first_split)}; codec {code(tokenizer.scheme)} with {tokenizer.codec.num_codes} codes. Values are "
        f"in the dimension's unit; clipped values are counted over all splits ({facts.num_targets:,} targets).\n\n"
        f"{table(header, rows)}"
    )


def lost(facts: TokenFacts) -> str:
    """Codes per chunk, and what decoding gives back of the actions."""
    loss = facts.loss
    rows = [
        [
            code(d.name),
            d.unit,
            *(_number(v) for v in (d.rmse, d.p99, d.max, d.codec_rmse, d.codec_max)),
            f"{d.share_rmse:.2%}",
            f"{d.clipped:.2%}",
        ]
        for d in loss.dimensions
    ]
    header = ["dimension", "unit", "rmse", "99 % are below", "largest", "rmse of the codec", "largest of the codec"]
    header += ["rmse, of half the range", "clipped"]
    where = " and ".join(code(s) for s in loss.splits)
    what = (
        f"{where}, which neither statistics nor codec were made of"
        if loss.is_held_out
        else f"{where}, which statistics and codec were made of as well: there is no other split"
    )
    return (
        f"## What was lost\n\nCodes per chunk: {facts.num_codes / max(1, facts.num_rows):.1f} in the mean, at most "
        f"{facts.longest} (all rows); 99 % of the chunks measured have at most {loss.tokens_p99:g}. That is "
        f"{loss.tokens_per_second:.4g} codes for a second of motion.\n\nErrors of decoded actions, measured on "
        f"{loss.chunks:,} of {loss.of_chunks:,} chunks of {what}; in the dimension's unit, padding left out. The codec "
        f"alone is compared with targets that the normalization had clipped already; the rest is clipping.\n\n"
        f"{table(header, rows)}"
    )


def defects(facts: TokenFacts) -> str:
    """What a user should know."""
    listed = "\n".join(f"- {escape(note)}" for note in facts.notes) if facts.notes else "None."
    return f"## Known defects and deviations\n\n{listed}"


def columns(facts: TokenFacts) -> str:
    """The columns of the config `executor`."""
    dims, horizon = facts.tokenizer.dims, facts.tokenizer.horizon
    length = facts.tokenizer.codec.length(horizon, dims)
    codes = "int32 list" if length is None else f"int32 [{length}]"
    rows = [
        ["`episode_index`, `episode_id`, `step_index`", "int64, string, int64", "where the row comes from"],
        ["`timestamp`", "float64", "seconds from the episode's first step"],
        ["`task`, `subtask`", "string", "instructions that hold at the step; empty where nobody said"],
        *([code(IMAGES + name), "image", "the image shown at the step"] for name in facts.cameras),
        ["`action`", f"float32 [{dims}]", "as recorded, in physical units"],
        ["`action_chunk`", f"float32 [{horizon}][{dims}]", "targets as learned, in physical units"],
        ["`action_is_pad`", f"bool [{horizon}]", "true beyond the end of the episode: no loss there"],
        ["`action_codes`", codes, "codes from 0 on"],
    ]
    if facts.state_names:
        rows.insert(-4, ["`observation.state`", f"float32 [{len(facts.state_names)}]", "as recorded"])
    rows += prompt_columns(facts.prompts)
    return f"## Columns\n\n{table(['column', 'type', 'meaning'], rows)}"


def recipe_section(facts: TokenFacts) -> str:
    """The recipe that the export was made by, and what was asked for beside it; empty where there was none."""
    recipe = facts.recipe
    if recipe is None:
        return ""
    names = ", ".join(map(code, facts.overridden))
    others = f"\n\nGiven beside it, and before what it says: {names}." if names else ""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=110).rstrip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"## Recipe\n\n{fence}yaml\n{text}\n{fence}{others}"


def _number(value: float) -> str:
    return f"{value:.5g}"


def token_notes(
    tokenizer: ActionTokenizer, prompts: Prompts, clipped: Mapping[str, int], counts: tuple[int, int]
) -> list[str]:
    """What a user should know of tokens and prompts, one line each; first among all notes.

    Args:
        tokenizer: Of the export.
        prompts: Of the export.
        clipped: Clipped values by dimension.
        counts: Targets that are not padded, and rows.
    """
    num_targets, num_rows = counts
    notes = []
    for name, count in clipped.items():
        if count:
            share = count / max(1, num_targets)
            notes.append(f"{name}: {count:,} of {num_targets:,} values ({share:.2%}) are clipped when encoded")
    if tokenizer.vocabulary is not None:
        notes += tokenizer.vocabulary.facts
    notes += prompts.facts(tokenizer.vocabulary is not None)
    about_padding, all_targets = prompts.padding_fact(), num_rows * tokenizer.horizon
    if all_targets > num_targets and about_padding is not None:
        notes.append(f"{all_targets - num_targets:,} of {all_targets:,} targets are padded; {about_padding}")
    return notes


def retokenized_card(card: str, old_scheme: str, facts: TokenFacts) -> str:
    """The card of an export that got other tokens: the sections that speak of them anew, all others as they are.

    Args:
        card: As the export wrote it.
        old_scheme: The scheme that it names.
        facts: What is to be said.

    Raises:
        ExportError: The card is none of an export.
    """
    prompt = prompt_section(facts.prompts, facts.tokenizer, facts.most_ids, facts.state_names)
    texts = (actions(facts), lost(facts), defects(facts), columns(facts), prompt, recipe_section(facts))
    made = {_heading(s): s for s in texts if s}
    head, *sections = _sections(card)
    match = re.fullmatch(r"---\n(.*?)---\n\n(.*)", head, re.DOTALL)
    if match is None or not made.keys() <= {_heading(s) for s in sections}:
        raise ExportError("README.md: is no card of an export of this release; export again")
    front, title = match.groups()
    said = title.replace(coded_as(old_scheme), coded_as(facts.tokenizer.scheme), 1)
    parts = [f"---\n{_front(front, facts)}---", said, *(made.get(_heading(s), s) for s in sections)]
    return "\n\n".join(parts) + "\n"


def _sections(card: str) -> list[str]:
    """What stands before the first section, and the sections; headings inside of code blocks are none."""
    found: list[list[str]] = [[]]
    fence = ""
    for line in card.removesuffix("\n").split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = "`" * (len(line) - len(line.lstrip("`")))
        elif line.startswith("## "):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines).rstrip("\n") for lines in found]


def _heading(section: str) -> str:
    return section.split("\n", 1)[0]


def _front(text: str, facts: TokenFacts) -> str:
    try:
        content = yaml.safe_load(text)
        content["tags"] = tags(facts.tokenizer.scheme)
        (config,) = [c for c in content["configs"] if c["config_name"] == "executor"]
        config["description"] = description(facts.content_digest)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ExportError("README.md: its YAML is not that of an export; export again") from error
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=200)

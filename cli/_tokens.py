"""What the commands of tokenizers share: schemes and their options as words."""

import typer

from ._console import USAGE, fail

CodecOption = typer.Option("--codec-option", metavar="NAME=VALUE", help="Option of the codec; docs/tokenizers.md.")


def option_value(text: str) -> int | float | str:
    """A number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def codec_options(pairs: list[str] | None, where: str = "--codec-option") -> dict[str, int | float | str]:
    """Options of a codec out of NAME=VALUE."""
    found = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name.isidentifier():
            fail(f"{where} {pair!r}; it must be NAME=VALUE, for instance num_codes=128", USAGE)
        found[name] = option_value(value)
    return found


def schemes_of(text: str) -> list[tuple[str, dict[str, int | float | str]]]:
    """Schemes out of `NAME[:OPTION=VALUE…],…`."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, *pairs = part.split(":")
        found.append((name, codec_options(pairs, f"--schemes {part!r}:")))
    if not found:
        fail("--schemes is empty; it must name schemes, for instance openvla_bins,uniform_bins:num_codes=128", USAGE)
    return found

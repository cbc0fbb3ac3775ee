"""Prompts: what stands around the actions, as text, as messages and as ids with a loss mask.

A template is a YAML file: an ordered list of segments, each with text, the codes, or a token, which says whether it
carries loss and with what it is encoded together. Those that come with vladata lie in this folder; docs/prompts.md.
"""

from ._render import Message, Rendered, Renderer
from ._state import StateText
from ._template import (
    FIELDS,
    Kind,
    MessageTemplate,
    PromptTemplate,
    Segment,
    StateFormat,
    json_schema,
    parse_template,
    read_template,
    template_names,
)

__all__ = [
    "FIELDS",
    "Kind",
    "Message",
    "MessageTemplate",
    "PromptTemplate",
    "Rendered",
    "Renderer",
    "Segment",
    "StateFormat",
    "StateText",
    "json_schema",
    "parse_template",
    "read_template",
    "template_names",
]

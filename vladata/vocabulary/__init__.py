"""Vocabulary: action codes ↔ ids of a language model, checked against the model's own tokenizer.json.

Four ways to give codes their ids, and all store the whole map, never an offset alone:

* `added`: new tokens `<action_000>`, … behind the tokenizer's last id. The safe default.
* `reserved`: tokens that the tokenizer keeps free, `<|reserved_special_token_0|>`, `<unused0>`, `<extra_id_0>`, ….
* `tail`: the last tokens of the vocabulary are used again, in descending order: id = V - 1 - skip - code. OpenVLA has
  V = 32000 and skip = 0; pi0-FAST has V = 257152 and skip = 128. Ids must not go through text: many tail tokens of
  byte-level tokenizers are not one token again.
* `text`: the codes as integers joined by one space, in the tokenizer's own tokens (RT-2).

Sources: Kim et al., OpenVLA, arXiv:2406.09246; Pertsch et al., FAST, arXiv:2501.09747; Brohan et al., RT-2,
arXiv:2307.15818.
"""

from ..tokenizers import TokenRows
from ..tokenizers._base import BaseFacts, BaseTokenizer
from ._added import added_vocabulary
from ._extend import RowPlan, plan_rows, write_extended
from ._map import CodeText, Delimiter, Vocabulary, VocabularyKind, code_text
from ._reserved import RESERVED_PATTERNS, reserved_vocabulary
from ._tail import tail_vocabulary
from ._text import text_vocabulary

__all__ = [
    "RESERVED_PATTERNS",
    "BaseFacts",
    "BaseTokenizer",
    "CodeText",
    "Delimiter",
    "RowPlan",
    "TokenRows",
    "Vocabulary",
    "VocabularyKind",
    "added_vocabulary",
    "code_text",
    "plan_rows",
    "reserved_vocabulary",
    "tail_vocabulary",
    "text_vocabulary",
    "write_extended",
]

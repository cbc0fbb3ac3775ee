"""What the reason of an outcome says: whether it tells of a failure."""

import re

__all__ = ["tells_failure", "tells_success"]

_FAILED = re.compile(
    r"\b(fail(s|ed|ure|ures)?|unsuccessful(ly)?|abort(ed)?|gave up|given up|timed? ?out|"
    r"drop(s|ped)?(?!( \w+){0,3} (in|into)\b)|slip(s|ped)?|"
    r"collision|collided|crash(ed)?|stuck|jammed|spilled|broke|broken|fell|missed|incomplete|unfinished|"
    r"knocked (it |the \w+ )?over|wrong (object|cube|place|bin|side|task|one)|emergency stop|e-?stop)\b"
)
_NOT_DONE = re.compile(
    r"\b(did not|didn'?t|could not|couldn'?t|cannot|can'?t|can not|was not|wasn'?t|were not|weren'?t|not|never|"
    r"unable to|failed to)( \w+){0,2} (reach(ed)?|grasp(ed)?|pick(ed)?|placed?|finish(ed)?|completed?|succeed(ed)?|"
    r"successful|closed?|open(ed)?|released?|lift(ed)?|insert(ed)?|done|solved|achieved?)\b"
)
_SOFTENED = re.compile(
    r"\b(no|not|never|without|none|zero|almost|nearly|avoid(s|ed|ing)?|recover(s|ed|y)?|retr(y|ied|ies)|again|despite|"
    r"although|though|but|after|before|finally|eventually|then|until|first|second|third|twice|tries|attempts?|"
    r"corrected|still|later|in the end|anyway|instead of)\b|n't\b"
)
"""Words that may turn a failure into the way to a success: where one stands, nothing is said."""
_SUCCEEDED = re.compile(r"\b(success|successful(ly)?|succeed(s|ed)|completed|task (is )?done|goal reached)\b")


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").replace("_", " ").replace("-", " ").lower().split())


def tells_failure(reason: str) -> bool:
    """Whether a reason names a failure, and nothing that softens it.

    >>> tells_failure("dropped the cube"), tells_failure("no collision"), tells_failure("grasped after two tries")
    (True, False, False)
    """
    text = _plain(reason)
    if _SUCCEEDED.search(_NOT_DONE.sub("", text)):
        return False
    rest, count = _NOT_DONE.subn("", text)
    return (count > 0 or _FAILED.search(rest) is not None) and _SOFTENED.search(rest) is None


def tells_success(reason: str) -> bool:
    """Whether a reason says that all went well, and nothing that takes it back."""
    text = _plain(reason)
    is_limited = any(p.search(text) for p in (_NOT_DONE, _FAILED, _SOFTENED))
    return _SUCCEEDED.search(text) is not None and not is_limited and "part" not in text

"""How questions are worded: several phrasings of each, chosen by a hash; `{slots}` stand for words of the episode."""

import re
from collections.abc import Mapping

__all__ = ["WORDS", "fill"]

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "task": {
        "what": (
            "What is the robot asked to do?",
            "Which instruction was the robot given?",
            "What task is the robot working on?",
        ),
    },
    "subtask": {
        "what": (
            "The task is: {task}. What is the robot doing right now?",
            "Which step of the task is the robot at? The task is: {task}.",
            "The robot was told: {task}. What is it doing at this moment?",
        ),
        "is": (
            "Is this what the robot is doing right now: {subtask}?",
            "Is the robot at this step of its task: {subtask}?",
            "Is the robot busy with this step just now: {subtask}?",
        ),
    },
    "next": {
        "what": (
            "The robot is at this step: {subtask}. What does it do next?",
            "What comes after this step: {subtask}?",
            "When the robot is through with this step: {subtask}, what is it going to do?",
        ),
    },
    "previous": {
        "what": (
            "The robot is at this step: {subtask}. What did it do just before?",
            "Which step came before this one: {subtask}?",
            "What had the robot done when it began with this step: {subtask}?",
        ),
    },
    "order": {
        "first": (
            "Which of the two did the robot do first: {a}, or {b}?",
            "What came first: {a}, or {b}?",
            "The robot did both of these: {a}; {b}. Which one was earlier?",
        ),
        "before": (
            "Did this come first: {a}, and only then this: {b}?",
            "Was this step: {a}, earlier than this one: {b}?",
        ),
    },
    "outcome": {
        "success": (
            "Did the robot succeed at this task: {task}?",
            "The robot was to do this: {task}. Was the attempt a success?",
            "Has the robot managed to do this: {task}?",
        ),
        "failure": (
            "Did the robot fail at this task: {task}?",
            "The robot was to do this: {task}. Was the attempt a failure?",
        ),
    },
    "progress": {
        "quarter": (
            "Which quarter of the demonstration's time is this from?",
            "How far has the demonstration come: is it in the first, second, third or last quarter of its time?",
        ),
        "half": (
            "The robot is at this step: {subtask}. Is it in the first or the second half of the step's time?",
            "Is less or more than half of the time of this step over: {subtask}? Say first half or second half.",
        ),
    },
    "gripper": {
        "state": (
            "Is {gripper} open or closed?",
            "In which state is {gripper}: open or closed?",
            "Say whether {gripper} is open or closed.",
        ),
        "open": ("Is {gripper} open?", "Would you say that {gripper} is open?", "Does {gripper} stand open?"),
        "closed": ("Is {gripper} closed?", "Would you say that {gripper} is closed?", "Is {gripper} shut?"),
    },
    "state": {
        "position": (
            "What are x, y and z of the robot's {signal}, in metres in the frame {frame}?",
            "Give the position that the robot's {signal} has in the frame {frame}: x, y and z in metres.",
        ),
        "joint": (
            "What is the angle of {joint}, to a degree?",
            "To how many degrees is {joint} turned?",
            "Give the angle of {joint} in degrees.",
        ),
        "aperture": (
            "How wide is {gripper} open, in centimetres?",
            "What is the opening of {gripper} in centimetres?",
        ),
    },
    "motion": {
        "gripper": (
            "What does {gripper} do in the next second: open, close, or neither?",
            "Does {gripper} open, close or stay as it is within a second from now?",
        ),
        "height": (
            "Where does z of the robot's {signal} (frame {frame}) go in the next second: up, down, or does it stay?",
            "Within a second from now, does the height in the robot's {signal} (z of {frame}) go up, go down or stay?",
        ),
    },
}
"""Phrasings by kind and by what is asked."""


def fill(phrasing: str, slots: Mapping[str, str]) -> str:
    """Put words into the slots of a phrasing, all at once: braces in an instruction stay text."""
    return re.sub(r"\{([a-z]+)\}", lambda found: slots[found[1]], phrasing)

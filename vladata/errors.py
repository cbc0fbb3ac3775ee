"""The errors of vladata, one tree.

VladataError
├── SchemaError(ValueError)             embodiment schema or mapping, with file and key path
├── SourceError                         a recording is unreadable
├── ImageError(ValueError)               an encoded image is damaged or breaks a limit
│   └── ImageLimitError                 its header declares more pixels than are ever decoded
├── SyncError                           streams do not share enough time
├── GateError                           a foreign file refused before parsing, with the limit it broke
├── EpisodeFormatError(ValueError)      not an episode file
│   └── EpisodeVersionError             an episode file of another format version
├── DatasetError                        a dataset folder is missing, locked or inconsistent
├── ValidationError                     findings reach the level that was asked for
├── TokenizeError(ValueError)           shape, range or not finite
├── ExportError                         the dataset can't be exported as asked
├── MissingExtraError(ImportError)      an optional package is not installed
└── PluginNotFoundError(LookupError)    no plugin of that name

Messages are one line, lower case, without full stop: what is, then what must be, and where.
`OSError` passes untouched.
"""

__all__ = [
    "DatasetError",
    "EpisodeFormatError",
    "EpisodeVersionError",
    "ExportError",
    "GateError",
    "ImageError",
    "ImageLimitError",
    "MissingExtraError",
    "PluginNotFoundError",
    "SchemaError",
    "SourceError",
    "SyncError",
    "TokenizeError",
    "ValidationError",
    "VladataError",
]


class VladataError(Exception):
    """Base of every error that vladata raises on purpose."""


class SchemaError(VladataError, ValueError):
    """An embodiment schema or a mapping is wrong."""


class SourceError(VladataError):
    """A recording can't be read."""


class ImageError(VladataError, ValueError):
    """An encoded image is damaged, or its declared size breaks a limit."""


class ImageLimitError(ImageError):
    """An encoded image declares more pixels than are ever decoded."""


class SyncError(VladataError):
    """The streams of a recording can't be brought onto one clock."""


class GateError(VladataError):
    """A foreign file breaks a limit and was not parsed."""


class EpisodeFormatError(VladataError, ValueError):
    """A file is not an episode, or an episode is damaged."""


class EpisodeVersionError(EpisodeFormatError):
    """An episode file has a format version that this release does not read."""


class DatasetError(VladataError):
    """A dataset folder is missing, in use or inconsistent."""


class ValidationError(VladataError):
    """Findings reach the severity that was asked to fail."""


class TokenizeError(VladataError, ValueError):
    """Actions or tokens have the wrong shape or range, or are not finite."""


class ExportError(VladataError):
    """The dataset can't be exported as asked."""


class MissingExtraError(VladataError, ImportError):
    """An optional package is not installed."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        """Name what needs the package and the line that installs it."""
        super().__init__(f"{purpose} needs the package {package}; install it: pip install 'vladata[{extra}]'")

    def __reduce__(self) -> tuple[type[VladataError], tuple[str]]:
        """Cross process borders as the plain message."""
        return VladataError, (str(self),)


class PluginNotFoundError(VladataError, LookupError):
    """There is no plugin of the name that was asked for."""

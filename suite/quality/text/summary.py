"""What a results file says of its text."""

import msgspec


class TextSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much text there is, and a digest of it. `tokens` are those to learn from."""

    files: int
    held_out_files: int
    text_bytes: int
    tokens: int
    windows: int
    vocabulary: int
    bytes_per_token: float
    digest: str

"""Collect running text into blocks: one paragraph, heading, list item or code line a line."""


class TextBlocks:
    """Words become paragraphs; a break ends one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._words: list[str] = []
        self._prefix = ""
        self._glued = False

    @property
    def is_empty(self) -> bool:
        """Whether the open paragraph has no text yet."""
        return not self._words

    def add(self, text: str, *, glue_next: bool = False) -> None:
        """Append text to the open paragraph, set off by a space unless the last one was glued."""
        text = text.strip()
        if not text:
            return
        if self._glued and self._words:
            self._words[-1] += text
        else:
            self._words.append(text)
        self._glued = glue_next

    def mark(self, prefix: str) -> None:
        """Begin the next paragraph with a list mark."""
        self.end()
        self._prefix = prefix

    def end(self) -> None:
        """End the open paragraph."""
        if text := " ".join(" ".join(self._words).split()):
            self.lines.append(f"{self._prefix} {text}" if self._prefix else text)
            self._prefix = ""
        self._words = []
        self._glued = False

    def add_line(self, text: str) -> None:
        """A line of its own, inner spacing kept: code."""
        self.end()
        if text := text.rstrip():
            self.lines.append(text)

    def finish(self) -> str:
        """All lines, each ended by a newline."""
        self.end()
        return "".join(f"{line}\n" for line in self.lines)

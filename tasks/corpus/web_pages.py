"""Running text of HTML and of Mallard help pages, without what surrounds it.

One paragraph, heading, list item or code line a line; cells of a table row are set apart by two
spaces. Menus, tables of contents and page furniture are dropped by tag and by class name.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tasks.corpus.text_blocks import TextBlocks

_BLOCK_TAGS = (
    "p div h1 h2 h3 h4 h5 h6 li ul ol dl dt dd tr table blockquote section article main body "
    "caption figcaption figure address hr br details summary page item desc note listing example "
    "steps terms list"
)
_FURNITURE_TAGS = (
    "head script style nav header footer aside form button noscript select textarea template "
    "iframe object svg video audio info credit"
)
# Sphinx, DocBook, Publican, LibreOffice and GIMP
_FURNITURE_CLASSES = (
    ".sphinxsidebar .related .headerlink .navheader .navfooter .toc .toctree-wrapper #toc "
    ".list-of-figures .list-of-tables .list-of-examples .docnav .index .indexterm .breadcrumbs "
    ".noteicon .footer .sitemap .copyright .legalnotice .revhistory #Contents #Index"
)
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_CODE = frozenset({"pre", "screen"})
_CELLS = frozenset({"td", "th"})
_DROPPED = ", ".join(f"{_FURNITURE_TAGS} {_FURNITURE_CLASSES}".split())
_INVISIBLE = re.compile("[\u00ad\u200b\u200c\u2060\ufeff]")
_CELL_MARK = "\ue000"
"""Private use: survives the collapsing of white space."""
_OUTER_MARKS = re.compile(rf"^(?: ?{_CELL_MARK} ?)+|(?: ?{_CELL_MARK} ?)+$", re.MULTILINE)
_INNER_MARKS = re.compile(rf"(?: ?{_CELL_MARK} ?)+")
_BLANK_LINES = re.compile(r"^\s*\n", re.MULTILINE)
_MALLARD_TITLE = re.compile(r"<(/?)title\b")


def html_text(source: str) -> str:
    """The page as lines of plain text, each ended by a newline."""
    tree = LexborHTMLParser(source)
    if tree.body is None:
        return ""
    for node in tree.css(_DROPPED):
        node.decompose()
    for switch in tree.css(".switch, .switchinline"):
        _keep_one_alternative(switch)
    blocks = TextBlocks()
    _walk(tree.body, blocks)
    text = _OUTER_MARKS.sub("", _INVISIBLE.sub("", blocks.finish()))
    return _BLANK_LINES.sub("", _INNER_MARKS.sub("  ", text))


def mallard_text(source: str) -> str:
    """A GNOME help page (XML) as lines of plain text."""
    return html_text(_MALLARD_TITLE.sub(r"<\1h2", source))


def _keep_one_alternative(switch: LexborNode) -> None:
    """LibreOffice's help holds the same words for each system and program, all hidden."""
    alternatives: list[LexborNode] = []
    child = switch.child
    while child is not None:
        if "hidden" in child.attributes:
            alternatives.append(child)
        child = child.next
    named = [a for a in alternatives if (a.attributes.get("id") or "").startswith("default")]
    kept = (named or alternatives)[:1]
    for alternative in alternatives:
        if alternative not in kept:
            alternative.decompose()


def _walk(root: LexborNode, blocks: TextBlocks) -> None:
    """Visit nodes in order; own stack, since pages may nest deeper than Python recurses."""
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    pieces: list[str] = []

    def end_block() -> None:
        blocks.add("".join(pieces))
        blocks.end()
        pieces.clear()

    while stack:
        node, leaving = stack.pop()
        tag = node.tag
        if tag == "-text":
            pieces.append(node.text_content or "")
            continue
        if tag in _CODE:
            end_block()
            for line in node.text().strip("\n").split("\n"):
                blocks.add_line(line)
            continue
        if tag in _BLOCKS:
            end_block()
        elif tag in _CELLS and leaving:
            pieces.append(f" {_CELL_MARK} ")
        if leaving:
            continue
        stack.append((node, True))
        children: list[tuple[LexborNode, bool]] = []
        child = node.child
        while child is not None:
            children.append((child, False))
            child = child.next
        stack.extend(reversed(children))
    end_block()

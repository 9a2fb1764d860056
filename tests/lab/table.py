"""A table for a terminal: wraps cells, and moves the last columns below where it is narrow."""
import re
import textwrap

GAP = "  "
NARROW = 170  # columns; below, the last ones get lines of their own
TITLE = 44  # of the first column, where there is room for more

COLOURS = {"good": "32", "bad": "31", "alarm": "1;31", "head": "1"}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def paint(text, colour, enabled):
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if enabled and colour else text


def _wrap(text, width):
    lines = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, max(width, 8), break_on_hyphens=False) or [""]
    return lines


def _block(cells, widths, colours, enabled):
    """One row: cells wrapped to their widths, side by side."""
    wrapped = [_wrap(cell, width) for cell, width in zip(cells, widths)]
    height = max(map(len, wrapped))
    lines = []
    for number in range(height):
        parts = []
        for column, width, colour in zip(wrapped, widths, colours):
            text = column[number] if number < len(column) else ""
            parts.append(paint(text, colour if text else "", enabled)
                         + " " * (width - len(text)))
        lines.append(GAP.join(parts).rstrip())
    return lines


def _longest(text):
    return max(map(len, text.split("\n")))


def render(header, rows, width, colour=False, tail=1):
    """Lines of a table; rows are (cells, colours of the cells).

    tail: how many columns at the end are prose, and stand below each row where
    the terminal is narrow.
    """
    width = max(60, min(width, 200))
    narrow = width < NARROW
    columns = len(header) - (tail if narrow else 1)
    widths = [max(_longest(cells[i]) for cells in [header, *(cells for cells, _ in rows)])
              for i in range(columns)]
    rest = width - sum(widths[1:]) - len(GAP) * (columns - 1)
    arrow, indent = GAP + "> ", GAP * 2
    if narrow:
        widths[0] = min(widths[0], rest)
    else:
        widths[0] = min(widths[0], TITLE, rest // 2)
        widths.append(rest - widths[0] - len(GAP))

    def lines_of(cells, colours):
        if not narrow:
            return _block(cells, widths, colours, colour)
        lines = _block(cells[:columns], widths, colours, colour)
        below = ": ".join(cell for cell in cells[columns:] if cell)
        if below:
            first, *more = _wrap(below, width - len(indent))
            painted = [paint(line, colours[-1], colour) for line in (first, *more)]
            lines += [arrow + painted[0], *(indent + line for line in painted[1:])]
        return lines

    out = lines_of(header, ["head"] * len(header))
    out.append("-" * width)
    for cells, colours in rows:
        out += lines_of(cells, colours)
    return out


def visible(text):
    return _ESCAPES.sub("", text)

"""A table for a terminal: wraps cells, and moves the last column below where it is narrow."""
import re
import textwrap

GAP = "  "
NARROW = 140  # columns; below, the last column gets lines of its own

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


def render(header, rows, width, colour=False):
    """Lines of a table; rows are (cells, colours of the cells)."""
    width = max(60, min(width, 200))
    narrow = width < NARROW
    columns = len(header) - 1
    widths = [max(len(cells[i]) for cells in [header, *(cells for cells, _ in rows)])
              for i in range(columns)]
    rest = width - sum(widths[1:]) - len(GAP) * (columns - 1)
    if narrow:
        widths[0] = min(widths[0], rest)
        arrow, indent = GAP + "> ", GAP * 2
    else:
        widths[0] = min(widths[0], rest * 2 // 5)
        widths.append(rest - widths[0] - len(GAP))

    def lines_of(cells, colours):
        if not narrow:
            return _block(cells, widths, colours, colour)
        lines = _block(cells[:-1], widths, colours, colour)
        if cells[-1]:
            first, *more = _wrap(cells[-1], width - len(indent))
            lines += [arrow + first, *(indent + line for line in more)]
        return lines

    out = lines_of(header, ["head"] * len(header))
    if narrow:
        out[-1] = arrow + paint(header[-1], "head", colour)
    out.append("-" * width)
    for cells, colours in rows:
        out += lines_of(cells, colours)
    return out


def visible(text):
    return _ESCAPES.sub("", text)

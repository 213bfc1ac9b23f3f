"""A report as blocks, and its two renderings: Markdown, and one HTML file that needs nothing beside itself. Pure but for the
figures that the HTML embeds."""
import base64
import dataclasses
import html
import os


@dataclasses.dataclass
class Heading:
    text: str
    level: int = 2


@dataclasses.dataclass
class Text:
    text: str


@dataclasses.dataclass
class Bullets:
    lines: list


@dataclasses.dataclass
class Table:
    head: list
    rows: list  # of lists of cells, all of them text


@dataclasses.dataclass
class Figure:
    name: str  # of NAME.svg and NAME.png
    caption: str


STYLE = """body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .3em .7em; text-align: right } th { background: #f5f5f5 }
th:first-child, td:first-child { text-align: left } img { max-width: 100% } figure { margin: 1.5em 0 }
figcaption { color: #555; font-size: 90% } td.failed { color: #a00 }"""


def _cell(text):
    return str(text).replace("|", "\\|")


def markdown(blocks, folder=""):
    """`folder`: where the figures are, seen from the page."""
    out = []
    for block in blocks:
        match block:
            case Heading(text, level):
                out += ["#" * level + " " + text, ""]
            case Text(text):
                out += [text, ""]
            case Bullets(lines):
                out += [f"- {line}" for line in lines] + [""]
            case Table(head, rows):
                out += ["| " + " | ".join(map(_cell, head)) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
                out += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows] + [""]
            case Figure(name, caption):
                out += [f"![{caption}]({folder}{name}.svg)", "", f"*{caption}*", ""]
    return "\n".join(out)


def page(blocks, folder):
    """HTML; `folder` holds the figures' SVG files."""
    out = []
    for block in blocks:
        match block:
            case Heading(text, level):
                out.append(f"<h{level}>{html.escape(text)}</h{level}>")
            case Text(text):
                out.append(f"<p>{html.escape(text)}</p>")
            case Bullets(lines):
                out.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>")
            case Table(head, rows):
                out.append("<table><tr>" + "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head) + "</tr>")
                for row in rows:
                    out.append("<tr>" + "".join(f"<td{' class=failed' if cell == FAILED else ''}>{html.escape(str(cell))}</td>" for cell in row) + "</tr>")
                out.append("</table>")
            case Figure(name, caption):
                with open(os.path.join(folder, name + ".svg"), "rb") as file:
                    data = base64.b64encode(file.read()).decode("ascii")
                out.append(f'<figure><img alt="{html.escape(caption)}" src="data:image/svg+xml;base64,{data}">'
                           f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    title = next((block.text for block in blocks if isinstance(block, Heading)), "report")
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style><body>\n'
            + "\n".join(out) + "\n</body></html>\n")


FAILED = "failed"

"""A4 pages for letters and offers as PDF, with the portal's colours, typeface and wordmark."""

from __future__ import annotations

from functools import partial
from io import BytesIO

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from models.printable_text import in_print
from models.text_direction import END_ISOLATE, ISOLATE
from models.typefaces import clusters, is_plain
from models.values import Locale
from tasks.outbox.embedded_fonts import EmbeddedFonts
from tasks.outbox.pdf_typeface import font_name
from tasks.outbox.shaping import Run, runs_of
from tasks.settings import Carrier, CarrierPage
from tasks.wording.labels import carrier_page_text
from tasks.wording.translate import N_, translate

Colour = tuple[int, int, int]

LEFT, RIGHT, WIDTH, PRICE = 25, 20, 165, 32
"""The left and right margins, the width of the text, and the width of a price in a table, in millimetres."""
INK, QUIET, ACCENT, LINE, TINT = (22, 32, 29), (81, 92, 88), (11, 90, 75), (217, 221, 217), (245, 246, 244)
"""The colours of web/static/portal.css (--ink, --quiet, --primary, --line, --paper) in its light form."""
_HEIGHT, _TOP, _FOOT = 297, 28, 22
_END = _HEIGHT - _FOOT - 8
_MARK = 4.2
_POINT = 25.4 / 72
_PAGES = "pages"


class Sheet:
    """A PDF in A4 that is printed from top to bottom, with wordmark, carrier and page number on each page.

    `carrier` is the sender, `title` the document's title, and `remark` a sentence for the foot of each page. `say`
    translates a sentence into the document's language. Lengths are in millimetres, measured from the page's left and
    top edges; `y` is where the next text is printed. Most methods that print text move `y` below it and begin a new
    page where the page is full.
    """

    def __init__(self, carrier: Carrier, locale: Locale, title: str, remark: str = "") -> None:
        self.locale = locale
        self.say = partial(translate, locale)
        self.heading_text = title
        self.y: float = _TOP
        self._carrier, self._remark = carrier, remark
        self._file = BytesIO()
        # Otherwise the PDF names Helvetica, too.
        first = font_name(400)
        self._canvas = Canvas(self._file, pagesize=A4, pageCompression=1, lang=locale, initialFontName=first)  # type: ignore[arg-type]
        self._fonts = EmbeddedFonts(self._canvas._doc)  # type: ignore[attr-defined]
        self._canvas.setTitle(in_print(title).replace(ISOLATE, "").replace(END_ISOLATE, ""))
        self.ink(INK, "", 11)
        self._begin_page()

    def content(self) -> bytes:
        """Finish the PDF and return it. Call once, after everything was printed."""
        # Known only now, and drawn on every page.
        self._canvas.beginForm(_PAGES)
        self.ink(QUIET, "", 8)
        self._draw(str(self._canvas.getPageNumber()), 0, _HEIGHT)
        self._canvas.endForm()
        self._canvas.save()
        return self._file.getvalue()

    def ink(self, colour: Colour, style: str, size: float) -> None:
        """Set colour (RGB, 0 to 255), style ("B" for bold, "" for normal) and size (points) of the following text."""
        self._colour, self._weight, self._size = colour, 600 if style else 400, size

    def width_of(self, text: str) -> float:
        """Return how many millimetres wide the text is in the style and size set by `ink`."""
        if is_plain(text):
            return self._plain_width(text) * _POINT
        return sum(map(self._run_width, runs_of(text, self._weight))) * _POINT

    def _plain_width(self, text: str) -> float:
        return float(stringWidth(text, font_name(self._weight), self._size))

    def _run_width(self, run: Run) -> float:
        """Return the width, in points, of a run of text in one typeface, at the size set by `ink`."""
        return run.width * self._size / 1000 if run.clusters else self._plain_width(run.text)

    def wrapped(self, text: str, width: float) -> list[str]:
        """Break a text into lines at most `width` millimetres wide: at line breaks, at spaces, or within long words.

        A word is only broken between characters as a reader sees them: no letter loses its marks, and no emoji is
        split.
        """
        lines: list[str] = []
        for part in text.split("\n"):
            line = part.lstrip(" ")
            # Most texts are short.
            if self.width_of(line) <= width:
                lines.append(line)
                continue
            words, line = line.split(" "), ""
            for word in words:
                longer = f"{line} {word}" if line else word
                if self.width_of(longer) <= width:
                    line = longer
                    continue
                if line:
                    lines.append(line)
                line = word
                characters = [] if self.width_of(line) <= width else list(line) if is_plain(line) else clusters(line)
                while len(characters) > 1 and self.width_of(line) > width:
                    fits = len(characters) - 1
                    while fits > 1 and self.width_of("".join(characters[:fits])) > width:
                        fits -= 1
                    lines.append("".join(characters[:fits]))
                    characters = characters[fits:]
                    line = "".join(characters)
            lines.append(line)
        return _isolated_in_each(lines)

    def text(self, text: str, left: float, height: float, right: float | None = None) -> None:
        """Print one line of text, `height` millimetres high, at `y`. Does not change `y`.

        The text begins `left` millimetres from the page's left edge. If `right` is given, the text ends `right`
        millimetres from the left edge instead, and `left` is ignored.
        """
        shown = in_print(text)
        if right is not None:
            left = right - self.width_of(shown)
        self._draw(shown, left, self.y + height / 2 + self._size * _POINT * 0.3)

    def line_of(self, text: str, height: float, left: float = LEFT) -> None:
        """Print one line of text, `height` millimetres high, beginning at `left`, and move `y` below it.

        Begins a new page first if there is no room for the line.
        """
        self.make_room(height)
        self.text(text, left, height)
        self.y += height

    def paragraph(self, text: str, height: float = 5.5, left: float = LEFT, width: float = WIDTH) -> None:
        """Print a text wrapped into lines at most `width` millimetres wide, and move `y` below it.

        Each line is `height` millimetres high and begins `left` millimetres from the page's left edge. Begins new pages
        as needed.
        """
        for line in self.wrapped(in_print(text), width):
            self.line_of(line, height, left)

    def link(self, address: str, height: float = 5.5) -> None:
        """Print a URL, underlined and clickable, and move `y` below it.

        A long URL wraps into several lines, each `height` millimetres high.
        """
        for line in self.wrapped(address, WIDTH):
            self.line_of(line, height)
            width, bottom = self.width_of(line), self.y - 1
            self._canvas.setStrokeColorRGB(*_shares(self._colour))
            self._line(LEFT, bottom, LEFT + width, bottom)
            area = (LEFT * mm, _up(self.y), (LEFT + width) * mm, _up(self.y - height))
            self._canvas.linkURL(address, area)

    def heading(self, left: float, text: str) -> None:
        """Print a small heading that begins `left` millimetres from the page's left edge, and move `y` below it."""
        self.ink(QUIET, "B", 9)
        self.line_of(text, 6, left)

    def block(self, left: float, lines: list[str]) -> None:
        """Print short texts below each other, and move `y` below them.

        They begin `left` millimetres from the page's left edge.
        """
        self.ink(INK, "", 10.5)
        for line in lines:
            self.paragraph(line, 5.2, left, 80)

    def facts(self, left: float, facts: list[tuple[str, str]]) -> None:
        """Print (name, value) pairs, one per line, and move `y` below them.

        The names begin `left` millimetres from the page's left edge; the values end 65 mm further right. Begins no new
        page, even if the page is full.
        """
        for name, value in facts:
            self.ink(QUIET, "", 9)
            self.text(name, left, 5.6)
            self.ink(INK, "", 9)
            self.text(value, left, 5.6, right=left + 65)
            self.y += 5.6

    def row(self, cells: tuple[str, ...], *, fill: bool = False) -> None:
        """Print a table row and move `y` below it.

        The first cell is a text, which wraps; the others are prices, right-aligned. `fill` gives the row a background.
        """
        description, *prices = cells
        lines = self.wrapped(description, WIDTH - 2 - PRICE * len(prices))
        height = 7.5 + 4.5 * (len(lines) - 1)
        self.make_room(height)
        if fill:
            self.box(LEFT, self.y, WIDTH, height, TINT)
        top = self.y
        for line in lines:
            self.text(line, LEFT + 1, 7.5)
            self.y += 4.5
        self.y = top
        # On the line of the description's first words.
        for place, price in enumerate(prices, 1 - len(prices)):
            self.text(price, 0, 7.5, right=LEFT + WIDTH - 1 + place * PRICE)
        self.y = top + height

    def rule(self) -> None:
        """Draw a thin line across the page, from the left to the right margin, at `y`."""
        self.line(LEFT, self.y, LEFT + WIDTH)

    def line(self, left: float, top: float, right: float) -> None:
        """Draw a thin horizontal line from `left` to `right`, `top` millimetres below the page's top edge."""
        self._canvas.setStrokeColorRGB(*_shares(LINE))
        self._line(left, top, right, top)

    def box(self, left: float, top: float, width: float, height: float, colour: Colour, radius: float = 0) -> None:
        """Draw a rectangle filled with a colour; `radius` (millimetres, 0 for none) rounds its corners.

        `left` and `top` are its distances, in millimetres, from the page's left and top edges.
        """
        self._canvas.setFillColorRGB(*_shares(colour))
        place = (left * mm, _up(top + height), width * mm, height * mm)
        if radius:
            self._canvas.roundRect(*place, radius * mm, stroke=0, fill=1)
        else:
            self._canvas.rect(*place, stroke=0, fill=1)

    def make_room(self, height: float) -> None:
        """Begin a new page if less than `height` millimetres are left on the present page above its foot."""
        if self.y + height > _END:
            self._canvas.showPage()
            self._begin_page()

    def _begin_page(self) -> None:
        """Print the wordmark and the foot of a new page, and set `y` to where its text begins."""
        before = self._colour, self._weight, self._size
        self._canvas.setLineWidth(0.2 * mm)
        self._print_wordmark()
        self._print_foot()
        self._colour, self._weight, self._size = before
        self.y = _TOP

    def _print_wordmark(self) -> None:
        """Print the wordmark: the portal's mark, the carrier's name if it is set, and the portal's name."""
        light = [round(channel + (255 - channel) * 0.55) for channel in ACCENT]
        self.box(LEFT + 1.1, 17.1, _MARK, _MARK, (light[0], light[1], light[2]), 1.1)
        self.box(LEFT, 16, _MARK, _MARK, ACCENT, 1.1)
        self.ink(INK, "B", 12.5)
        self.y = 15.5
        self.text(" ".join(filter(None, (self._carrier.name, self.say(N_("Customer portal"))))), LEFT + 9, 5.5)

    def _print_foot(self) -> None:
        """Print the remark, the carrier's address, contact and imprint, and the page number at the foot of the page."""
        carrier = self._carrier
        imprint = carrier.links.get(CarrierPage.IMPRINT)
        lines = [
            self._remark,
            ", ".join(filter(None, (carrier.name, carrier.address))),
            " · ".join(filter(None, (carrier.phone, carrier.email))),
            f"{carrier_page_text(CarrierPage.IMPRINT, self.locale)}: {imprint}" if imprint else "",
        ]
        self.y = _HEIGHT - _FOOT
        self.rule()
        self.ink(QUIET, "", 8)
        total = LEFT + WIDTH - self.width_of("0")
        self.text(f"{self._canvas.getPageNumber()}/", 0, 5, right=total)
        self._canvas.saveState()
        self._canvas.translate(total * mm, _up(self.y + 2.5 + 8 * _POINT * 0.3))
        self._canvas.doForm(_PAGES)
        self._canvas.restoreState()
        self.y += 0.7
        for line in filter(None, lines):
            self.text(line, LEFT, 3.8)
            self.y += 3.8

    def _draw(self, text: str, left: float, top: float) -> None:
        self._canvas.setFillColorRGB(*_shares(self._colour))
        self._canvas.setFont(font_name(self._weight), self._size)
        place = left * mm
        if is_plain(text):
            self._canvas.drawString(place, _up(top), text)
            return
        for run in runs_of(text, self._weight):
            if run.clusters:
                self._canvas.addLiteral(self._fonts.operators(run, self._weight, self._size, place, _up(top)))
            else:
                self._canvas.drawString(place, _up(top), run.text)
            place += self._run_width(run)

    def _line(self, left: float, top: float, right: float, bottom: float) -> None:
        self._canvas.line(left * mm, _up(top), right * mm, _up(bottom))


def _isolated_in_each(lines: list[str]) -> list[str]:
    """Return the lines of a wrapped text so that each line contains its isolated parts whole.

    Right-to-left text stands between the invisible characters FSI and PDI. Where such a part goes on in the next line,
    PDI is added at the end of the line and FSI at the beginning of the next.
    """
    if not any(ISOLATE in line for line in lines):
        return lines
    found, is_open = [], False
    for line in lines:
        begun = f"{ISOLATE}{line}" if is_open else line
        is_open = begun.count(ISOLATE) > begun.count(END_ISOLATE)
        found.append(f"{begun}{END_ISOLATE}" if is_open else begun)
    return found


def _shares(colour: Colour) -> tuple[float, float, float]:
    """Convert a colour from red, green and blue between 0 and 255 to the same between 0 and 1."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _up(top: float) -> float:
    """Convert `top`, millimetres below the page's top edge, to points (1/72 inch) above its bottom edge."""
    return (_HEIGHT - top) * mm

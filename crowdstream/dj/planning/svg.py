"""Write the few SVG elements that the plot needs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def _attributes(values: dict[str, float | str]) -> str:
    parts = []
    for name, value in values.items():
        text = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        parts.append(f' {name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return "".join(parts)


class Svg:
    """A drawing; sizes are in pixels, `style` is CSS."""

    def __init__(self, width: float, height: float, style: str) -> None:
        self._width, self._height = width, height
        self._parts = [f"<style>{escape(style)}</style>"]
        self._clips = 0

    def rect(
        self, x: float, y: float, width: float, height: float, title: str = "", **more: float | str
    ) -> None:
        """Add a rectangle; `title` is its tooltip."""
        values = {"x": x, "y": y, "width": max(0.0, width), "height": height, **more}
        end = f"><title>{escape(title)}</title></rect>" if title else "/>"
        self._parts.append(f"<rect{_attributes(values)}{end}")

    def line(self, x: float, y: float, x2: float, y2: float, **more: float | str) -> None:
        """Add a straight line."""
        self._parts.append(f"<line{_attributes({'x1': x, 'y1': y, 'x2': x2, 'y2': y2, **more})}/>")

    def curve(self, points: Sequence[tuple[float, float]], **more: float | str) -> None:
        """Add a polyline through `points`."""
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        self._parts.append(f"<polyline{_attributes({'points': path, 'fill': 'none', **more})}/>")

    def text(
        self, x: float, y: float, text: str, room: float | None = None, **more: float | str
    ) -> None:
        """Add a line of text, clipped to a width of `room`."""
        values = {"x": x, "y": y, **more}
        if room is not None:
            self._clips += 1
            self._parts.append(
                f'<clipPath id="c{self._clips}"><rect{_attributes({"x": x, "y": y - 20})}'
                f'{_attributes({"width": max(0.0, room), "height": 30})}/></clipPath>'
            )
            values["clip_path"] = f"url(#c{self._clips})"
        self._parts.append(f"<text{_attributes(values)}>{escape(text)}</text>")

    def whole(self) -> str:
        """Return the SVG document."""
        width, height = f"{self._width:.0f}", f"{self._height:.0f}"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">'
        )
        return "\n".join([head, *self._parts, "</svg>\n"])

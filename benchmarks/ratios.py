"""The README's plot: how much longer others take for `ns.do(fn)`."""

from __future__ import annotations

from statistics import median
from typing import Any

SHOWN = {  # contestants of the race, and what they are called here
    "netns": "netns",
    "os.setns": "os.setns recipe",
    "Go vishvananda": "Go vishvananda",
    "pyroute2": "pyroute2",
    "Go CNI": "Go CNI pkg/ns",
}
WIDTH, LEFT, ROW, TOP = 360, 122, 30, 40
BAR = WIDTH - LEFT - 62


def draw(results: dict[str, Any]) -> str | None:
    """As SVG; None if one of those shown did not race."""
    values = results["operations"].get("do", {}).get("values", {})
    if not SHOWN.keys() <= values.keys():
        return None
    times = {name: median(values[name]) for name in SHOWN}
    own, most = times["netns"], max(times.values())
    height = TOP + ROW * len(times) + 8
    label = ", ".join(f"{SHOWN[n]} {t / own:.1f} times" for n, t in times.items() if n != "netns")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="14">',
        f"<title>The time of ns.do(fn), there and back; as long as netns: {label}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#fff"/>',
        f'<text x="12" y="25" fill="#222" font-weight="bold">ns.do(fn), there and back: '
        f"{own * 1e6:.1f} µs</text>",
    ]
    for row, (name, time) in enumerate(sorted(times.items(), key=lambda pair: pair[1])):
        y = TOP + ROW * row
        bar = round(BAR * time / most)
        text = "1" if name == "netns" else f"× {time / own:.1f}"
        lines += [
            f'<text x="{LEFT - 6}" y="{y + 18}" text-anchor="end" fill="#222">'
            f"{SHOWN[name]}</text>",
            f'<rect x="{LEFT}" y="{y + 3}" width="{bar}" height="20" '
            f'fill="{"#1a7f64" if name == "netns" else "#9aa5b1"}"/>',
            f'<text x="{LEFT + bar + 6}" y="{y + 18}" fill="#222">{text}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])

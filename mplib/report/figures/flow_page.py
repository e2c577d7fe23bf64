"""The flow of attention as a page to play with, which works offline and from a file."""

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np
from IPython.display import HTML

from mplib.report.figures.attention import Flow

EDGES_AT_FIRST = 150
"""About how many edges of a flow the page shows before anything is chosen."""


def attention_flow_page(flows: Sequence[Flow]) -> HTML:
    """Flows as one page inside the page: choose list and layer, hide weak edges, point at a token.

    Everything it needs is in it, so that it works offline and from a file; weights are rounded to
    255 steps of the largest. It runs in a sandbox and all text is escaped.
    """
    data = []
    for flow in flows:
        top = float(flow.weights.max()) or 1.0
        steps = np.rint(flow.weights / top * 255).astype(np.uint8)
        least = int(np.sort(steps, axis=None)[-min(EDGES_AT_FIRST, steps.size)])
        data.append({
            "name": flow.name, "layers": steps.shape[0], "tokens": steps.shape[1], "top": top,
            "least": max(1, least), "marks": {str(k): str(v) for k, v in flow.marks.items()},
            "weights": base64.b64encode(steps.tobytes()).decode(),
        })  # fmt: skip
    page = (files("mplib") / "data" / "attention_flow.html").read_text("utf-8")
    # No "<" survives, so that no text can end the script.
    page = page.replace("DATA", json.dumps(data).replace("<", "\\u003c"))
    layers = max(flow.weights.shape[0] for flow in flows)
    return HTML(
        f'<div><iframe title="Attention flow" sandbox="allow-scripts" srcdoc="{escape(page)}" '
        f'style="width:100%;height:{170 + 62 * layers}px;border:0"></iframe></div>'
    )

"""The workbench: a page on which people play with the model, in a browser of its own or inside JupyterLab.

    diffinfinite workbench                       # opens it in the browser

    from diffinfinite_lite.widgets.workbench import workbench
    workbench()                                  # in a notebook: the same page under the cell

The page is thin. `session.Session` does what is asked of it and knows no Panel; here its parts go to the page and the
page's actions to it. The page is ``workbench.js`` and the three files beside it, in plain JavaScript and HTML elements.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..extras import extra
from .jobs import THREADS
from .session import Session, fixed
from .state import State
from .studio import Studio

with extra("course"):
    import holoviews as hv
    import panel as pn
    import param
    from panel.custom import Child, JSComponent

HERE = Path(__file__).parent
SCRIPTS = ("workbench.js", "workbench_appearance.js", "workbench_explore.js", "workbench_paint.js")
ONE_AT_A_TIME = 16  # MB of a message from a page: a run's folder in base64
TIP = '<div><img src="@image" alt="" width="112"><br>@name</div>'


class Page(JSComponent):
    """The page of one person.

    Parameters
    ----------
    session : what it shows
    """

    fixed = param.Dict(default={})
    plot = Child()
    _esm = "\n".join((HERE / script).read_text("utf8") for script in SCRIPTS)
    _stylesheets: ClassVar = [(HERE / "workbench.css").read_text("utf8")]

    def __init__(self, studio: Studio, *, query: str = "", served: bool = False, **params: Any) -> None:
        self._pipe = hv.streams.Pipe(data=None)
        super().__init__(
            fixed=fixed() | {"served": served}, plot=_scatter(self._pipe, self._select), min_height=480, **params
        )
        self._document = pn.state.curdoc
        self._lock, self._parts = threading.Lock(), dict[str, Any]()
        self.session = Session(studio, self._show, query)

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict):
            if data.get("do") == "open":  # also of a second view in JupyterLab, which has missed what came before
                self._send_msg(dict(self._parts))
            self.session.handle(data)

    def _show(self, **parts: Any) -> None:
        """Send parts to the page, from any thread."""
        with self._lock:
            self._parts |= {name: part for name, part in parts.items() if name != "file"}

        def send() -> None:
            self._send_msg(parts)
            if "neighbours" in parts:
                self._pipe.send(parts["neighbours"])

        document, ours = self._document, threading.current_thread().name.startswith(THREADS)
        if ours and document is not None and document.session_context:
            document.add_next_tick_callback(send)
        else:
            send()

    def _select(self, index: Sequence[int]) -> None:
        self._show(selected=list(index))


def _scatter(pipe: hv.streams.Pipe, select: Any) -> hv.DynamicMap:
    """Pictures among training tiles; a selection of pictures goes to `select`, pointing shows them."""

    def training(data: dict | None) -> hv.Points:
        data = data or {"training": [], "nearest": []}
        return hv.Points(data["training"]).opts(color="#9a93a8", size=3, framewise=True)

    def nearest(data: dict | None) -> hv.Points:
        rows = [(*tile["place"], tile["name"], tile["image"]) for tile in (data or {"nearest": []})["nearest"]]
        return hv.Points(rows, vdims=["name", "image"]).opts(color="#0072b2", size=7, marker="diamond", **hover)

    def pictures(data: dict | None) -> hv.Points:
        data = data or {"places": [], "names": [], "images": []}
        rows = [(*place, *more) for place, *more in zip(data["places"], data["names"], data["images"], strict=True)]
        tools = hover | {"tools": [*hover["tools"], "box_select", "lasso_select", "tap"]}
        return hv.Points(rows, vdims=["name", "image"]).opts(color="#c2447e", size=10, line_color="white", **tools)

    hover = {"tools": ["hover"], "hover_tooltips": TIP, "framewise": True}
    chosen = hv.DynamicMap(pictures, streams=[pipe])
    hv.streams.Selection1D(source=chosen).add_subscriber(lambda index: select(index))
    layers = hv.DynamicMap(training, streams=[pipe]) * hv.DynamicMap(nearest, streams=[pipe]) * chosen
    return layers.opts(
        responsive=True, height=340, xaxis=None, yaxis=None, active_tools=["box_select"], toolbar="above", title=""
    )


def workbench(link: str = "", *, weights: str | Path | None = None, device: str | None = None) -> Page:
    """The workbench inside JupyterLab.

    Parameters
    ----------
    link : parameters of a workbench's address, to begin where it was, such as ``"?context=squamous&seed=3"``
    weights : folder of a model; the shipped one by default
    device : "cpu", "cuda", ...; a GPU is used where torch sees one

    Returns
    -------
    The page, to be the last line of a cell; its ``session`` holds the state, the mask and the picture.

    Raises
    ------
    ValueError
        If the link is none of the workbench's.
    """
    State.from_query(link)
    pn.extension(inline=True)
    hv.extension("bokeh", inline=True)
    return Page(Studio(weights, device), query=link, sizing_mode="stretch_width")


def serve(
    *,
    port: int = 5006,
    address: str = "localhost",
    workers: int = 1,
    weights: str | Path | None = None,
    device: str | None = None,
    show: bool = True,
) -> None:
    """The workbench in the browser, for one person or several, until it is stopped.

    Parameters
    ----------
    port, address : where it listens
    workers : pictures that are painted at a time; who comes later waits in a queue
    weights, device : of `workbench`
    show : whether to open the browser
    """
    hv.extension("bokeh", inline=True)
    studio = Studio(weights, device, workers)

    def page() -> Page:
        query = pn.state.location.search if pn.state.location else ""
        return Page(studio, query=query or "", served=True, sizing_mode="stretch_width")

    try:
        pn.serve(
            {"/": page},
            port=port,
            address=address,
            show=show,
            title="Workbench",
            websocket_max_message_size=ONE_AT_A_TIME * 2**20,
        )
    finally:
        studio.queue.close()

// An OpenSeadragon viewer on a plane without edges; `endless.py` puts this function, called with its settings, into a page.
(settings) => {
  const part = (name) => document.getElementById(name);
  const top = Math.log2(settings.side); // OpenSeadragon's level of full size
  const middle = settings.side / 2;

  const source = (kind) => ({
    width: settings.side, height: settings.side, tileSize: settings.tile, minLevel: top - settings.farthest,
    getTileUrl: (level, column, row) => {
      const zoom = top - level, origin = middle / settings.tile / 2 ** zoom; // the tile that begins at the origin
      return `${kind}/${zoom}/${column - origin}_${row - origin}`;
    },
  });

  const viewer = OpenSeadragon({
    element: part("view"), drawer: "canvas", showNavigationControl: false, maxZoomPixelRatio: 4, visibilityRatio: 1,
    animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.8, crossOriginPolicy: false,
    immediateRender: true, // smaller levels first would be 64 tiles painted for one that is in view
    timeout: 3600000, imageLoaderLimit: 4, // a tile is painted when it is asked for, which takes as long as it takes
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    tileSources: [{ tileSource: source("mask") }, { tileSource: source("image") }, { tileSource: source("mask"), opacity: 0 }],
  });
  const view = viewer.viewport;

  // Where the address says (#x=..,y=..,zoom=..; px of the slide in the middle of the view), else at the origin.
  const place = () => {
    const said = Object.fromEntries(location.hash.slice(1).split(",").map((pair) => pair.split("=")));
    const number = (name, usual) => Number.isFinite(parseFloat(said[name])) ? parseFloat(said[name]) : usual;
    return { x: number("x", 0), y: number("y", 0), zoom: number("zoom", 1) };
  };
  const go = ({ x, y, zoom }) => {
    const picture = viewer.world.getItemAt(0);
    if (!picture) return;
    view.minZoomLevel = picture.imageToViewportZoom(2 ** -settings.farthest); // beyond, a tile would be too much to paint
    view.zoomTo(picture.imageToViewportZoom(zoom), null, true);
    view.panTo(picture.imageToViewportCoordinates(middle + x, middle + y), true);
  };

  viewer.addHandler("open", () => go(place()));
  viewer.addHandler("resize", () => {
    const picture = viewer.world.getItemAt(0);
    if (picture) view.minZoomLevel = picture.imageToViewportZoom(2 ** -settings.farthest);
  });
  window.addEventListener("hashchange", () => go(place()));
  viewer.canvas.setAttribute("role", "application");
  viewer.canvas.setAttribute("aria-label", `${document.title}. Plus and minus zoom, arrows move.`);
  const zoomBy = (factor) => { view.zoomBy(factor); view.applyConstraints(); };
  part("in").onclick = () => zoomBy(1.5);
  part("out").onclick = () => zoomBy(1 / 1.5);
  part("home").onclick = () => go({ x: 0, y: 0, zoom: 1 });
  part("opacity").oninput = () => viewer.world.getItemAt(2).setOpacity(part("opacity").value / 100);
  viewer.addHandler("canvas-key", (event) => {
    if (["KeyR", "KeyF"].includes(event.originalEvent.code)) event.preventDefaultAction = true; // neither turn nor mirror
  });

  // A bar of a round number of micrometres, at most a quarter of the view.
  const measure = () => {
    const picture = viewer.world.getItemAt(0);
    if (!picture) return;
    const scale = picture.viewportToImageZoom(view.getZoom(true)); // screen px a slide px
    const most = part("view").clientWidth / 4 * settings.mpp / scale, power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((n) => n * power <= most) * power;
    part("bar").style.width = `${length / settings.mpp * scale}px`;
    part("length").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  };
  for (const event of ["open", "animation", "resize"]) viewer.addHandler(event, measure);
  viewer.addHandler("animation-finish", () => {
    const picture = viewer.world.getItemAt(0), at = picture.viewportToImageCoordinates(view.getCenter());
    const zoom = picture.viewportToImageZoom(view.getZoom());
    history.replaceState(null, "", `#x=${Math.round(at.x - middle)},y=${Math.round(at.y - middle)},zoom=${+zoom.toFixed(3)}`);
  });

  const watch = async () => {
    try {
      const { waiting, evaluations } = await (await fetch("state")).json();
      const busy = waiting ? `Painting, ${waiting} tile${waiting > 1 ? "s" : ""} asked for` : "All that is in view is painted";
      part("state").textContent = `${busy}; ${evaluations} evaluations of the networks so far.`;
    } catch {
      part("state").textContent = "The program that paints has ended.";
    }
    setTimeout(watch, 1000);
  };
  watch();
  window.viewer = viewer;
}

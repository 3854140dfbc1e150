// The controls around an OpenSeadragon viewer; `deepzoom.py` puts this function, called with its settings, into the page.
(settings) => {
  const start = () => {
    const root = document.getElementById(settings.name);
    if (!root) return requestAnimationFrame(start); // JupyterLab runs scripts before it shows an output
    const part = (what) => root.querySelector(`[data-part=${what}]`);
    const say = (text) => { part("status").textContent = text; };

    const open = () => {
      const layers = [{ tileSource: settings.image }];
      if (settings.mask) layers.push({ tileSource: settings.mask, opacity: settings.opacity });
      const viewer = OpenSeadragon({
        element: part("view"), tileSources: layers, drawer: "canvas", // WebGL refuses pictures from file://
        animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.8, showNavigationControl: false,
        cooperativeGestures: true, maxZoomPixelRatio: 4, visibilityRatio: 0.5,
        gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      });
      const view = viewer.viewport;
      viewer.canvas.setAttribute("role", "application");
      viewer.canvas.setAttribute("aria-label", `${settings.title}. Plus and minus zoom, arrows move, Home shows all.`);

      // Until the picture has the focus the wheel scrolls the page; one finger always does, two move the picture.
      let pointer = "mouse";
      viewer.addHandler("canvas-press", (event) => { pointer = event.pointerType; });
      viewer.canvas.addEventListener("focus", () => {
        viewer.setCooperativeGestures(pointer === "touch");
        if (viewer.cooperativeOverlay) viewer.cooperativeOverlay.style.opacity = 0; // the hint was followed
      });
      viewer.canvas.addEventListener("blur", () => { pointer = "mouse"; viewer.setCooperativeGestures(true); });
      viewer.addHandler("canvas-cooperative-gesture", (event) => {
        event.message = event.gesture === "scroll" ? "Click the picture, then the wheel zooms" : "Two fingers move the picture";
      });

      const zoom = (factor) => { view.zoomBy(factor); view.applyConstraints(); };
      part("in").onclick = () => zoom(1.5);
      part("out").onclick = () => zoom(1 / 1.5);
      part("home").onclick = () => view.goHome();
      viewer.addHandler("canvas-key", (event) => {
        const { code } = event.originalEvent;
        if (code === "KeyR" || code === "KeyF") event.preventDefaultAction = true; // neither turn nor mirror
        if (code === "Home") { view.goHome(); event.originalEvent.preventDefault(); }
      });
      part("full").hidden = !root.requestFullscreen;
      part("full").onclick = () => document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen();
      root.addEventListener("fullscreenchange", () => {
        part("full").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
      });

      const slider = part("opacity");
      if (slider) slider.oninput = () => viewer.world.getItemAt(1).setOpacity(slider.value / 100);

      // Outlines are vectors in px of the picture, thin at any zoom.
      const outlines = part("outlines"), outlined = part("outlined");
      if (outlines) {
        const place = () => {
          const picture = viewer.world.getItemAt(0);
          if (!picture) return;
          const from = view.pixelFromPoint(picture.imageToViewportCoordinates(0, 0, true), true);
          const zoom = picture.viewportToImageZoom(view.getZoom(true)) * picture.getContentSize().x / outlines.dataset.width;
          outlines.firstElementChild.setAttribute("transform", `translate(${from.x} ${from.y}) scale(${zoom})`);
          outlines.style.setProperty("--region-scale", Math.min(1, Math.max(0.4, 1.3 * zoom))); // far away they would bury all
        };
        const show = () => outlines.toggleAttribute("hidden", !outlined.checked);
        outlined.onchange = show;
        show();
        for (const event of ["open", "update-viewport", "resize"]) viewer.addHandler(event, place);
        viewer.world.addHandler("add-item", place);
      }

      // A bar of a round number of micrometres, at most a quarter of the view.
      const measure = () => {
        const picture = viewer.world.getItemAt(0);
        if (!picture) return;
        const scale = picture.viewportToImageZoom(view.getZoom(true)); // screen px a picture px
        const most = root.clientWidth / 4 * settings.mpp / scale, power = 10 ** Math.floor(Math.log10(most));
        const length = [5, 2, 1].find((n) => n * power <= most) * power;
        part("bar").style.width = `${length / settings.mpp * scale}px`;
        part("length").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
        return settings.mpp / scale;
      };
      const report = () => { const step = measure(); if (step) say(`One pixel of the screen shows ${step.toPrecision(2)} µm.`); };
      for (const event of ["animation", "resize"]) viewer.addHandler(event, measure);
      for (const event of ["open", "animation-finish"]) viewer.addHandler(event, report);
      viewer.world.addHandler("add-item", report);
      viewer.addHandler("tile-load-failed", () => say("Some tiles are missing: keep the folder _assets beside this page."));
      root.viewer = viewer;
    };

    if (window.OpenSeadragon) return open();
    const script = document.querySelector("script[data-openseadragon]") || document.createElement("script");
    script.addEventListener("load", open);
    script.addEventListener("error", () => say("The viewer is missing: keep the folder _assets beside this page."));
    if (!script.dataset.openseadragon) {
      script.dataset.openseadragon = "wanted";
      script.src = settings.library;
      document.head.append(script);
    }
  };
  start();
}

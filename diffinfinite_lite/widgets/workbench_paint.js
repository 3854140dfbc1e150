// The tab of workbench.js on which masks are painted, by mouse, pen, touch or keys. Python owns the mask; here a stroke is
// only drawn until the mask comes back.

const TOOLS = [["brush", "Brush", "b"], ["eraser", "Eraser", "e"], ["polygon", "Polygon", "p"], ["fill", "Fill", "f"]];

/** Buttons of which one is pressed. */
function choices(title, items, choose) {
  const buttons = items.map(([key, ...children]) => h("button", { type: "button", "aria-pressed": "false",
    onclick: () => choose(key) }, ...children));
  const root = h("div", { className: "choices", role: "group", "aria-label": title }, buttons);
  root.show = (key) => buttons.forEach((button, at) => button.setAttribute("aria-pressed", items[at][0] === key));
  return root;
}

function range(title, min, max, value, change) {
  const id = unique("range");
  const input = h("input", { id, type: "range", min, max, oninput: () => change(+input.value) });
  input.value = value;
  const root = h("div", { className: "field slider" }, h("label", { htmlFor: id }, title), input);
  root.set = (next) => { input.value = next; change(+input.value); };
  return root;
}

function paint(fixed, send) {
  let tool = "brush", label = 1, radius = 14, mask = null, points = [], down = false, cursor = [40, 40], keys = false;
  const tissue = image("Tissue under the mask"), shown = h("canvas", {}), live = h("canvas", {});
  const surface = h("div", { className: "surface", tabIndex: 0, role: "application", "aria-roledescription": "canvas",
    "aria-label": "Mask. Arrow keys move the tip, Space lowers and lifts it, Enter sets a corner or fills, "
      + "b e p f choose the tool, 0 to 5 the label, brackets the width, Control Z goes back" }, tissue, shown, live);
  const said = h("p", { className: "figures", role: "status" });
  const tools = choices("Tool", TOOLS.map(([key, name, letter]) => [key, name, h("kbd", {}, letter)]), pickTool);
  const labels = choices("Label", fixed.labels.map((name, at) => [at,
    h("i", { style: `background: ${rgb(fixed.colours[at])}` }), name, h("kbd", {}, String(at))]), pickLabel);
  const width = range("Brush", 1, 64, radius, (value) => { radius = value; drawLive(); });
  let opaque = 0.45;
  const opacity = range("Opacity", 0, 100, 100 * opaque, (value) => { opaque = value / 100; fade(); });
  const fade = () => { shown.style.opacity = style === "outlines" ? 0.5 + opaque / 2 : opaque; }; // lines are thin
  const look = choices("Mask as", [["fill", "Filled"], ["outlines", "Outlines"]], (key) => { style = key; draw(); });
  const undo = h("button", { type: "button", onclick: () => send({ do: "draw", tool: "undo" }) }, "Undo");
  const redo = h("button", { type: "button", onclick: () => send({ do: "draw", tool: "redo" }) }, "Redo");
  const clear = h("button", { type: "button", onclick: () => use("clear", []) }, "Clear");
  const always = h("input", { type: "checkbox", checked: true,
    onchange: (event) => send({ do: "live", on: event.target.checked }) });
  const now = h("button", { type: "button", className: "primary", onclick: () => send({ do: "paint" }) }, "Paint tissue");
  const [file, folder] = [{ accept: ".png,.tif,.tiff,.bmp,.gif,.geojson,.json" }, { webkitdirectory: true, multiple: true }]
    .map((more) => h("input", { type: "file", className: "hidden", tabIndex: -1, "aria-hidden": "true", ...more }));
  const open = h("div", { className: "choices" }, [["Load a mask", file], ["Open a run's folder", folder]].map(([name, input]) =>
    h("button", { type: "button", onclick: () => input.click() }, name)));
  const store = h("div", { className: "choices", role: "group", "aria-label": "Save" }, [["mask", "Mask as PNG"],
    ["geojson", "Mask as GeoJSON"], ["picture", "Picture"], ["pair", "Pair"]].map(([what, name]) =>
    h("button", { type: "button", onclick: () => send({ do: "save", what }) }, name)));
  let style = "fill";
  for (const input of [file, folder]) input.onchange = () => load(input);
  takesFiles(surface, async (files) => send({ do: "load", files: await readFiles(files) }));

  const root = h("section", { className: "panel paint" },
    h("div", { className: "tools" }, tools, labels, h("div", { className: "row" }, undo, redo, clear)),
    surface, said,
    h("div", { className: "row" }, h("label", { className: "check" }, always, "Paint tissue as I draw"), now),
    h("div", { className: "tools" }, h("div", { className: "row" }, width, opacity), look),
    h("div", { className: "row files" }, open, h("span", {}, "Save"), store, file, folder));

  function pickTool(key) { tool = key; points = []; down = false; tools.show(key); drawLive(); tell(); }
  function pickLabel(key) { label = key; labels.show(key); tell(); }
  const place = (event) => {
    const box = surface.getBoundingClientRect();
    return [(event.clientX - box.left - 1) / (box.width - 2) * mask.width,
      (event.clientY - box.top - 1) / (box.height - 2) * mask.height].map((px) => Math.round(10 * px) / 10);
  };
  function use(name, where) { send({ do: "draw", tool: name, label, points: where, radius }); }
  function tell() {
    const where = keys ? `Row ${cursor[1]}, column ${cursor[0]}${down ? ", lowered" : ""}. ` : "";
    said.textContent = `${where}${TOOLS.find(([key]) => key === tool)[1]}, ${tool === "eraser" ? "to unknown"
      : fixed.labels[label]}${points.length && tool === "polygon" ? `, ${points.length} corners` : ""}`;
  }
  async function load(input) {
    const wanted = input === folder ? ["image.png", "mask.png", "run.json", "latents.npy"] : null;
    const files = [...input.files].filter((one) => !wanted || (wanted.includes(one.name)
      && one.webkitRelativePath.split("/").length < 3));
    send({ do: "load", files: await readFiles(files) });
    input.value = "";
  }

  function draw() {
    look.show(style);
    fade();
    if (mask) drawMask(shown, mask, fixed.colours, style === "outlines");
    drawLive();
  }
  /** What is being drawn, until the mask that holds it comes; and the tip that the keys move. */
  function drawLive() {
    if (!mask) return;
    if (live.width !== mask.width || live.height !== mask.height) {
      Object.assign(live, { width: mask.width, height: mask.height });
    }
    const pen = live.getContext("2d"), colour = rgb(fixed.colours[tool === "eraser" ? 0 : label]);
    pen.clearRect(0, 0, live.width, live.height);
    Object.assign(pen, { strokeStyle: colour, fillStyle: colour, lineCap: "round", lineJoin: "round" });
    if (points.length) {
      pen.lineWidth = tool === "polygon" ? 2 : 2 * radius + 1;
      pen.beginPath();
      points.forEach(([x, y], at) => { if (at) pen.lineTo(x, y); else pen.moveTo(x, y); });
      if (points.length === 1) pen.lineTo(points[0][0] + 0.01, points[0][1]);
      pen.stroke();
      if (tool === "polygon") for (const [x, y] of points) pen.fillRect(x - 3, y - 3, 6, 6);
    }
    if (keys) {
      pen.lineWidth = 1;
      for (const [ink, by] of [["#fff", 1], ["#000", 0]]) {
        pen.strokeStyle = ink;
        pen.beginPath();
        pen.arc(cursor[0], cursor[1], (tool === "polygon" || tool === "fill" ? 3 : radius) + by, 0, 7);
        pen.stroke();
      }
    }
  }

  const finish = () => {
    if (tool === "polygon" && points.length > 2) use("polygon", points);
    if (tool === "brush" || tool === "eraser") { if (points.length) use(tool, points); }
    if (tool === "polygon") points = [];
    down = false;
    tell();
  };
  surface.onpointerdown = (event) => {
    if (!mask || event.button) return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    keys = false;
    if (tool === "fill") { use("fill", [place(event)]); return; }
    if (tool === "polygon") {
      const corner = place(event), first = points[0];
      const closes = points.length > 2 && Math.hypot(corner[0] - first[0], corner[1] - first[1]) < 8;
      if (closes) finish(); else points.push(corner);
    } else {
      surface.setPointerCapture(event.pointerId);
      [points, down] = [[place(event)], true];
    }
    drawLive();
    tell();
  };
  surface.onpointermove = (event) => {
    if (!down || !surface.hasPointerCapture(event.pointerId)) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    points.push(...(passed.length ? passed : [event]).map(place));
    drawLive();
  };
  surface.onpointerup = () => { if (down) finish(); };
  surface.onpointercancel = () => { points = []; down = false; drawLive(); };
  surface.ondblclick = () => { if (tool === "polygon") { points.pop(); finish(); drawLive(); } };
  surface.onkeydown = (event) => {
    if (!mask) return;
    const { key } = event, command = event.ctrlKey || event.metaKey;
    const by = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key];
    const letter = TOOLS.find(([, , shortcut]) => shortcut === key);
    if (command && /^[zy]$/i.test(key)) send({ do: "draw", tool: key.toLowerCase() === "y" || event.shiftKey ? "redo" : "undo" });
    else if (command) return;
    else if (by) {
      keys = true;
      const step = event.shiftKey ? 1 : 8;
      cursor = cursor.map((px, axis) => Math.min(Math.max(px + step * by[axis], 0), [mask.width, mask.height][axis] - 1));
      if (down) points.push([...cursor]);
    } else if (key === " ") {
      keys = true;
      if (tool === "fill") use("fill", [cursor]);
      else if (tool === "polygon") points.push([...cursor]);
      else if (down) finish();
      else [points, down] = [[[...cursor]], true];
    } else if (key === "Enter") {
      if (tool === "fill") use("fill", [cursor]);
      else finish();
    } else if (key === "Escape") [points, down] = [[], false];
    else if (letter) pickTool(letter[0]);
    else if (fixed.labels[key] !== undefined && key.length === 1) pickLabel(+key);
    else if (key === "[" || key === "]") width.set(radius + (key === "]" ? 2 : -2));
    else return;
    event.preventDefault();
    drawLive();
    tell();
  };
  surface.onblur = () => { if (keys) { keys = false; drawLive(); } };

  tools.show(tool);
  labels.show(label);
  look.show(style);
  fade();
  tell();
  root.parts = {
    mask: async (value) => {
      mask = await labelsOf(value.image, fixed.colours);
      surface.style.setProperty("--ratio", `${mask.width} / ${mask.height}`);
      undo.disabled = !value.undo;
      redo.disabled = !value.redo;
      surface.dataset.undo = value.undo;
      if (!down && tool !== "polygon") points = [];
      draw();
    },
    picture: (value) => {
      tissue.show(value.image);
      if (value.recomputed != null) said.textContent = `Painted again: ${Math.round(100 * value.recomputed)}% of the picture`;
    },
  };
  return root;
}

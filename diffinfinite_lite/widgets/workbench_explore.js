// Tabs of workbench.js that show pictures: how one emerges, a contact sheet, a comparison, neighbours.

const WAITS = [245, 190, 120], REACHED = [52, 116, 176]; // of the timestep map

function image(alt) {
  const node = h("img", { alt, decoding: "sync", hidden: true });
  node.show = (uri, words) => { node.src = uri; node.hidden = !uri; if (words) node.alt = words; };
  return node;
}

/** Labels of a mask that came as a picture in the colours of the legend. */
async function labelsOf(uri, colours) {
  const picture = new Image();
  picture.src = uri;
  await picture.decode();
  const canvas = h("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const known = new Map(colours.map(([r, g, b], label) => [(r << 16) | (g << 8) | b, label]));
  const labels = new Uint8Array(canvas.width * canvas.height);
  for (let i = 0; i < labels.length; i++) {
    labels[i] = known.get((data[4 * i] << 16) | (data[4 * i + 1] << 8) | data[4 * i + 2]);
  }
  return { labels, width: canvas.width, height: canvas.height };
}

/** Draws a mask on a canvas of its size: filled, or the borders of its regions alone. */
function drawMask(canvas, { labels, width, height }, colours, outlines) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
  for (let i = 0; i < labels.length; i++) {
    const own = labels[i], x = i % width, y = (i / width) | 0;
    const other = (dx, dy) => x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height
      && labels[i + dx + dy * width] !== own;
    const border = outlines && (other(-2, 0) || other(2, 0) || other(0, -2) || other(0, 2));
    picture.data.set([...colours[own], !outlines || border ? 255 : 0], 4 * i);
  }
  pen.putImageData(picture, 0, 0);
}

function explore(fixed, send) {
  const tissue = image("Generated tissue"), over = h("canvas", { "aria-hidden": "true", hidden: true });
  const caption = h("p", { className: "figures" }), warning = h("p", { className: "warning" });
  const outlines = h("input", { type: "checkbox", id: unique("outlines"), onchange: () => draw() });
  const frame = h("div", { className: "frame" }, tissue, over);
  const [map, windows] = ["Timestep map", "Windows being written"].map((name) =>
    h("canvas", { role: "img", "aria-label": name, className: "pixels" }));
  const estimate = image("Clean estimate");
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Moment of the run" });
  const several = h("div", { className: "row", hidden: true }, h("span", { className: "help" },
    "One window covers this picture, so that there is little to see of the windows."),
  h("button", { type: "button", onclick: () => send({ do: "set", name: "size", value: "336x336" }) }, "See four at 336 px"));
  const words = h("p", { className: "moment" }), probe = h("p", { className: "probe", role: "status" });
  const play = h("button", { type: "button" }, "Play");
  const [back, next] = [["Level back", -1], ["Level on", 1]].map(([name, by]) =>
    h("button", { type: "button", onclick: () => jump(by) }, name));
  const views = h("div", { className: "views" }, [["Steps to go", map], ["Clean estimate", estimate],
    ["Windows", windows]].map(([name, node]) => h("figure", {}, h("div", { className: "square" }, node),
    h("figcaption", {}, name))));
  const root = h("section", { className: "panel explore" },
    h("div", { className: "main" }, frame, h("div", { className: "row" }, h("label", { className: "check" }, outlines,
      "Outlines of the mask"), legend(fixed)), caption, warning),
    h("div", { className: "emergence" }, h("h2", {}, "How it came about"), views,
      h("div", { className: "row" }, back, play, next, slider), words, several,
      h("p", { className: "help" }, "Point at the picture: which window wrote that place? With the keyboard, focus the "
        + "picture and use the arrow keys."), probe));
  let run = null, frames = [], pictures = {}, mask = null, at = [0, 0], timer = null, following = true, over_ = false;
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "Picture; arrow keys ask which window wrote a place");

  function draw() {
    over.hidden = !(outlines.checked && mask);
    if (!over.hidden) drawMask(over, mask, fixed.colours, true);
    if (!run) return;
    const [level, count] = frames[+slider.value] ?? [0, 0], boxes = run.windows[level] ?? [];
    const [height, width] = run.size.map((side) => side / 8);
    const covers = (box, row, column) => run.covers(box, row, column);
    for (const canvas of [map, windows]) Object.assign(canvas, { width, height });
    const left = run.windows.length - level, pen = map.getContext("2d"), picture = pen.createImageData(width, height);
    const dark = 0.35 + 0.65 * (left / run.windows.length);
    for (let i = 0; i < width * height; i++) {
      const done = boxes.slice(0, count).some((box) => covers(box, (i / width) | 0, i % width));
      picture.data.set([...(done ? REACHED : WAITS).map((value) => value * dark), 255], 4 * i);
    }
    pen.putImageData(picture, 0, 0);
    drawWindows(windows.getContext("2d"), boxes, count, width, height);
    const shown = Object.keys(pictures).map(Number).filter((number) => number <= level);
    if (shown.length) estimate.show(pictures[Math.max(...shown)], `Clean estimate after level ${Math.max(...shown) + 1}`);
    if (over_ && !(level in pictures)) { pictures[level] = pictures[Math.max(...shown)]; send({ do: "level", level }); }
    const text = `Level ${level + 1} of ${run.windows.length}, window ${count} of ${boxes.length}`;
    words.textContent = `${text}: ${left - 1} levels to go after it.`;
    slider.setAttribute("aria-valuetext", text);
  }

  function drawWindows(pen, boxes, count, width, height) {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    boxes.slice(0, count).forEach((box, number) => {
      const current = number === count - 1, asked = at[2] && run.covers(box, at[0], at[1]);
      pen.fillStyle = current ? "rgba(213, 94, 0, .55)" : "rgba(0, 90, 150, .16)";
      pen.strokeStyle = asked ? "#d55e00" : "rgba(0, 60, 110, .55)";
      for (const [dy, dx] of [[0, 0], [0, -run.painted[1]], [-run.painted[0], 0], run.painted.map((side) => -side)]) {
        pen.fillRect(box[1] + dx, box[0] + dy, box[3], box[2]);
        pen.strokeRect(box[1] + dx + 0.5, box[0] + dy + 0.5, box[3] - 1, box[2] - 1);
      }
    });
    if (at[2]) { pen.fillStyle = "#000"; pen.fillRect(at[1], at[0], 1, 1); }
  }

  function ask(row, column) {
    if (!run) return;
    const [height, width] = run.size.map((side) => side / 8);
    at = [Math.min(Math.max(row, 0), height - 1), Math.min(Math.max(column, 0), width - 1), true];
    const [level] = frames[+slider.value] ?? [0];
    const wrote = (boxes) => boxes.flatMap((box, number) => run.covers(box, at[0], at[1]) ? [number + 1] : []);
    const here = wrote(run.windows[level]), all = run.windows.reduce((sum, boxes) => sum + wrote(boxes).length, 0);
    probe.textContent = `Row ${8 * at[0]}, column ${8 * at[1]}: at level ${level + 1} window${here.length === 1 ? "" : "s"} `
      + `${here.join(", ")} of ${run.windows[level].length} wrote it; over all ${run.windows.length} levels ${all} did.`;
    draw();
  }

  for (const node of [frame, map, windows]) {
    node.addEventListener("pointermove", (event) => {
      const box = node.getBoundingClientRect();
      if (run) ask(...[(event.clientY - box.top) / box.height * run.size[0], (event.clientX - box.left) / box.width
        * run.size[1]].map((px) => (px / 8) | 0));
    });
  }
  frame.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    ask(at[0] + by[0], at[1] + by[1]);
  });

  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const jump = (by) => {
    following = false;
    const level = (frames[+slider.value] ?? [0])[0] + by;
    const last = frames.findLastIndex((frame) => frame[0] === level);
    if (last >= 0) slider.value = last;
    draw();
  };
  slider.oninput = () => { following = false; stop(); draw(); };
  play.onclick = () => {
    if (timer) return stop();
    following = false;
    if (+slider.value >= frames.length - 1) slider.value = 0;
    play.textContent = "Pause";
    const stride = Math.max(1, Math.round(frames.length / 150));
    timer = setInterval(() => {
      if (+slider.value >= frames.length - 1) stop();
      else { slider.value = +slider.value + stride; draw(); }
    }, 90);
  };

  root.status = ({ phase }) => { frame.classList.toggle("stale", phase === "running" || phase === "waiting"); };
  root.parts = {
    run: (value) => {
      const painted = value.size.map((side, axis) => // the canvas: the picture with its margin, or a single window
        Math.max(side / 8 + 2 * value.margin, ...value.windows[0].map((box) => box[2 + axis])));
      const covers = ([top, left, height, width], row, column) =>
        (row - top + painted[0]) % painted[0] < height && (column - left + painted[1]) % painted[1] < width;
      run = { ...value, painted, covers };
      frames = run.windows.flatMap((boxes, level) => boxes.map((_, number) => [level, number + 1]));
      [pictures, following, over_] = [{}, true, false];
      several.hidden = run.windows.some((boxes) => boxes.length > 1);
      slider.max = frames.length - 1;
      slider.value = 0;
      frame.style.setProperty("--ratio", `${value.size[1]} / ${value.size[0]}`);
      views.style.setProperty("--ratio", `${value.size[1]} / ${value.size[0]}`);
      stop();
      draw();
    },
    moment: ({ level, image: uri }) => {
      if (uri) pictures[level] = uri;
      if (following) slider.value = frames.findLastIndex((frame) => frame[0] === level);
      if (following && uri) tissue.show(uri, `The picture as level ${level + 1} estimates it`);
      draw();
    },
    picture: async (value) => {
      over_ = true;
      if (run) pictures[run.windows.length - 1] = value.image;
      tissue.show(value.image, value.alt);
      frame.style.setProperty("--ratio", `${value.size[1]} / ${value.size[0]}`);
      caption.textContent = value.words;
      warning.textContent = value.warnings.length ? `Take care: ${value.warnings.join("; ")}.` : "";
      mask = await labelsOf(value.mask, fixed.colours);
      draw();
    },
  };
  return root;
}

function sheet(fixed, send, change) {
  const grid = h("div", { className: "sheet" }), large = image("Finished picture");
  const caption = h("p", { className: "figures", role: "status" }, "Choose a picture to finish it in 50 steps.");
  const vary = h("select", { id: unique("vary"), onchange: (event) => change("sweep", event.target.value) });
  const make = h("button", { type: "button", className: "primary", onclick: () => send({ do: "sheet" }) }, "Make the sheet");
  const root = h("section", { className: "panel" },
    h("div", { className: "row" }, h("label", { htmlFor: vary.id }, "Vary"), vary, make),
    h("div", { className: "two" }, grid, h("div", {}, h("div", { className: "frame" }, large), caption)));
  let picked = "", items = [];
  root.controls = (specs) => {
    const options = specs.map((spec) => spec.name);
    if (vary.options.length !== options.length) vary.replaceChildren(...options.map((name) => h("option", {}, name)));
  };
  root.parts = {
    state: (state) => { vary.value = state.sweep; },
    sheet: (value) => {
      if (items.length !== value.length || value.every((item) => !item.image)) grid.replaceChildren();
      items = value;
      value.forEach((item, number) => {
        const text = item.name.replace("_", " ");
        const old = grid.children[number];
        if (old?.dataset.text === text && old.classList.contains("done") === Boolean(item.image)) return;
        const choose = () => { picked = text; caption.textContent = `Finishing ${text}`; send({ do: "pick", number }); };
        const node = h("button", { type: "button", disabled: !item.image, onclick: choose, "aria-label": `Finish ${text}`,
          className: item.image ? "thumb done" : "thumb" },
        item.image ? h("img", { src: item.image, alt: "" }) : h("span", { className: "empty" }), h("span", {}, text));
        node.dataset.text = text;
        if (old) old.replaceWith(node); else grid.append(node);
      });
    },
    picture: (value) => {
      if (!picked) return;
      large.show(value.image, value.alt);
      caption.textContent = `${picked}: ${value.words}`;
    },
  };
  return root;
}

function comparison(send, change) {
  const settings = fields((name, value) => change(`b.${name}`, value));
  const [before, after, apart] = [image("Picture A"), image("Picture B"), image("Difference of A and B, times 8")];
  const line = h("span", { className: "line", "aria-hidden": "true" });
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Line between A and B" });
  const table = h("table", {}, h("caption", {}, "What tells them apart"), h("tbody", {}));
  const frame = h("div", { className: "frame before-after" }, after, before, line);
  const start = h("button", { type: "button", className: "primary", onclick: () => send({ do: "compare" }) }, "Compare");
  const views = h("div", { className: "two", hidden: true },
    h("figure", {}, frame, h("div", { className: "row" }, h("span", {}, "A"), slider, h("span", {}, "B")),
      h("figcaption", {}, "Left of the line A, right of it B.")),
    h("figure", {}, h("div", { className: "frame" }, apart), h("figcaption", {}, "Difference, times 8")));
  const apartIn = h("span", { role: "status" });
  const same = h("button", { type: "button", onclick: () => send({ do: "same" }) }, "Make B like A");
  const reading = h("p", { className: "help reading" }, "Two runs on a busy machine differ in seconds, never in "
    + "evaluations. Seams: steps of colour where windows meet, over those elsewhere. Label faithfulness: share of pixels "
    + "whose label a simple annotation of the finished picture confirms.");
  const root = h("section", { className: "panel" },
    h("p", {}, "A is as the settings on the side say, B as these do. Seed and mask are the same."),
    h("details", { open: innerWidth > 800 }, h("summary", {}, "Settings of B"), settings),
    h("div", { className: "row" }, start, same, apartIn), views, h("div", { className: "numbers", hidden: true }, table, reading));
  const draw = () => {
    before.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    line.style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value}% of A`);
  };
  slider.oninput = draw;
  const move = (event) => {
    const box = frame.getBoundingClientRect();
    slider.value = Math.round(100 * (event.clientX - box.left) / box.width);
    draw();
  };
  frame.onpointerdown = (event) => { frame.setPointerCapture(event.pointerId); move(event); };
  frame.onpointermove = (event) => { if (frame.hasPointerCapture(event.pointerId)) move(event); };
  const rows = { evaluations: "Evaluations of the network", seconds: "Seconds", seams: "Seams (1 is none)",
    faithfulness: "Label faithfulness" };
  root.controls = (b, a) => {
    settings.show(b);
    const own = new Map(a.map((spec) => [spec.name, spec.value]));
    const differing = b.filter((spec) => own.get(spec.name) !== spec.value);
    apartIn.textContent = differing.length ? `B differs in ${differing.map(({ name, label, value }) =>
      `${label}: ${value} (A: ${own.get(name)})`).join("; ")}.` : "B is the same as A.";
  };
  root.parts = {
    comparison: (value) => {
      before.show(value.a);
      after.show(value.b);
      apart.show(value.difference);
      frame.style.setProperty("--ratio", `${value.size[1]} / ${value.size[0]}`);
      views.hidden = root.querySelector(".numbers").hidden = false;
      table.querySelector("tbody").replaceChildren(
        h("tr", {}, h("td", {}), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B")),
        ...Object.entries(rows).map(([key, title]) => h("tr", {}, h("th", { scope: "row" }, title),
          value.figures.map((figures) => h("td", {}, figures[key] ?? (key === "seams" ? "one window" : "no labels"))))));
      draw();
    },
  };
  return root;
}

function neighbours(send, plot) {
  const start = h("button", { type: "button", className: "primary", onclick: () => send({ do: "neighbours" }) }, "Look");
  const note = h("p", { className: "help" }), cards = h("div", { className: "cards" });
  const nearest = image("Nearest training tile"), said = h("p", { className: "figures", role: "status" });
  const marks = h("ul", { className: "legend marks", hidden: true, "aria-label": "Points" },
    [["picture", "generated here"], ["near", "nearest training tile of one"], ["other", "other training tiles"]].map(([kind, text]) =>
      h("li", {}, h("i", { className: kind }), text)));
  const chart = h("div", { className: "plot", hidden: true }, plot);
  const root = h("section", { className: "panel" },
    h("p", {}, "All pictures of this session among the training tiles, by features of a network: what lies close looks alike. "
      + "Drag a box or a lasso over points to see their pictures; point at a picture, or tap it, for the training tile next to it."),
    h("div", { className: "row" }, start), note, marks, chart,
    h("div", { className: "two" }, cards, h("div", { className: "nearest" }, nearest, said)));
  let found = null;
  function draw(chosen) {
    cards.replaceChildren(...chosen.map((number) => {
      const tile = found.nearest[number];
      const look = () => {
        nearest.show(tile?.image ?? "", `Training tile ${tile?.name}`);
        said.textContent = tile ? `${tile.name}, at a distance of ${tile.distance} from ${found.names[number]}` : "";
      };
      return h("button", { type: "button", className: "thumb done", onpointerenter: look, onfocus: look },
        h("img", { src: found.images[number], alt: "" }), h("span", {}, found.names[number]));
    }));
  }
  root.parts = {
    neighbours: (value) => {
      found = value;
      note.textContent = value.note;
      chart.hidden = marks.hidden = false;
      window.dispatchEvent(new Event("resize"));
      draw(value.names.map((_, number) => number));
    },
    selected: (numbers) => { if (found) draw(numbers.length ? numbers : found.names.map((_, number) => number)); },
  };
  return root;
}

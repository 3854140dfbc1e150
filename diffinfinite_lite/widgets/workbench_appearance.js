// The part of workbench.js that turns light and stain: axes with a picture at each end, pictures to imitate, a morph.

/** Files as the page sends them: names and contents in base64. */
function readFiles(files) {
  return Promise.all([...files].map((one) => new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve({ name: one.name, content: reader.result.split(",")[1] ?? "" });
    reader.readAsDataURL(one);
  })));
}

/** Lets files be dropped on an element. */
function takesFiles(node, take) {
  node.addEventListener("dragover", (event) => { event.preventDefault(); node.classList.add("dropping"); });
  node.addEventListener("dragleave", () => node.classList.remove("dropping"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    node.classList.remove("dropping");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}

function appearances(send, change) {
  const why = h("p", { className: "help" }), axes = h("div", { className: "axes" });
  const like = async (files) => send({ do: "like", source: "file", files: await readFiles(files) });
  const file = h("input", { type: "file", className: "hidden", tabIndex: -1, "aria-hidden": "true",
    accept: "image/*,.tif,.tiff", onchange: async () => { await like(file.files); file.value = ""; } });
  const tiles = h("div", { className: "real", role: "group", "aria-label": "Real tiles" });
  const note = h("p", { className: "help" });
  let drawn = 0;
  const button = (name, action) => h("button", { type: "button", onclick: action }, name);
  const ends = ["Left end", "Right end"].map((name, side) => {
    const shown = image("");
    const node = h("button", { type: "button", className: "end", onclick: () => send({ do: "end", side }) }, shown,
      h("span", {}, name));
    node.show = (uri) => { shown.show(uri); };
    return node;
  });
  const morph = button("Morph", () => send({ do: "morph" }));
  const box = h("div", {});
  const body = h("div", {}, h("p", { className: "help" }, "The axes along which light and stain of this context differ most, "
    + "with their share of all variance. The pictures are drafts at both ends."), axes,
    h("h3", {}, "More like this"), h("div", { className: "choices" },
      button("The picture in view", () => send({ do: "like", source: "view" })), button("A file", () => file.click()),
      button("A real tile", () => send({ do: "tiles", seed: drawn++ })), file),
    h("p", { className: "help" }, "Or drop a picture here."), tiles, note,
    h("h3", {}, "Morph, from left to right"), h("p", { className: "help" }, "Keep the picture in view as either end."),
    h("div", { className: "choices" }, ends, morph),
    h("h3", {}, "As a setting"), box);
  const root = h("details", { className: "appearance", hidden: true }, h("summary", {}, "Appearance"), why, body);
  root.addEventListener("toggle", () => { if (root.open && !body.hidden) send({ do: "axes" }); });
  takesFiles(body, like);

  const sliders = Array.from({ length: 4 }, (_, axis) => {
    const [low, high] = [image(""), image("")], said = h("output", {});
    const input = h("input", { type: "range", step: 0.05, oninput: () => { said.textContent = (+input.value).toFixed(1); },
      onchange: () => send({ do: "turn", axis, value: +input.value }) });
    const words = h("span", {}, `Axis ${axis + 1}`);
    const node = h("div", { className: "axis" }, low, h("label", {}, words, said, input), high);
    node.place = (value, reach) => {
      [input.min, input.max] = [Math.min(-reach, value), Math.max(reach, value)];
      input.value = value;
      said.textContent = value.toFixed(1);
    };
    node.ends = (item) => {
      low.show(item.ends[0], `Draft at the low end of axis ${axis + 1}`);
      high.show(item.ends[1], `Draft at the high end of axis ${axis + 1}`);
      words.textContent = `Axis ${axis + 1}, ${Math.round(100 * item.share)}%`;
      input.setAttribute("aria-label", `Axis ${axis + 1} of the appearance, ${Math.round(100 * item.share)}% of its variance`);
    };
    return node;
  });
  axes.append(...sliders);
  root.parts = {
    appearance: ({ why: reason, text, places, reach, ends: pictures }) => {
      root.hidden = body.hidden = false;
      why.textContent = reason;
      body.hidden = Boolean(reason);
      if (reason) { root.open = true; return; }
      sliders.forEach((slider, axis) => slider.place(places[axis], reach));
      ends.forEach((end, side) => end.show(pictures[side]));
      morph.disabled = !pictures.every(Boolean);
      box.replaceChildren(field({ name: "appearance", label: "appearance", kind: "box", value: text,
        help: "" }, (name, value) => change(name, value.trim() || "default")));
    },
    axes: (items) => items.forEach((item, axis) => sliders[axis].ends(item)),
    tiles: (items) => {
      tiles.replaceChildren(...items.map((tile, number) => h("button", { type: "button", className: "thumb",
        "aria-label": `More like ${tile.name}`, onclick: () => send({ do: "like", source: "tile", number }) },
      h("img", { src: tile.image, alt: "" }))));
      note.textContent = items.length ? `Real tiles that the model was not trained on (${items[0].source}): ${items[0].licence}.` : "";
    },
  };
  return root;
}

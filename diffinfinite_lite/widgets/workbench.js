// The workbench's page: header, settings, tabs, and what stands under "Repeat this". The tabs' own parts are in the files
// beside this one, which Python joins to one module. The page keeps nothing: it sends what people do, shows what comes.

function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && !["list", "role", "type", "height", "width"].includes(key)) node[key] = value;
    else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

let names = 0;
const unique = (stem) => `${stem}-${++names}`;
const rgb = (colour) => `rgb(${colour.join(", ")})`;

/** A label and its control, which hands over its value as text when it was changed. */
function field(spec, change) {
  const id = unique("control"), help = unique("help");
  const send = (event) => change(spec.name, event.target.value);
  const about = { id, "aria-describedby": spec.help ? help : null };
  const words = h("label", { htmlFor: id }, spec.label);
  let control;
  if (spec.kind === "menu") {
    control = h("select", { ...about, onchange: send },
      spec.options.map((option) => h("option", { value: option, selected: option === spec.value },
        option === "default" && spec.usual ? `default: ${spec.usual}` : option)));
  } else if (spec.kind === "slider") {
    const said = h("output", { htmlFor: id }, spec.value);
    control = h("input", { ...about, type: "range", min: spec.min, max: spec.max, step: spec.step, onchange: send,
      oninput: (event) => { said.textContent = event.target.value; } });
    control.value = spec.value;
    words.append(" ", said);
  } else {
    control = h("input", { ...about, type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false,
      value: spec.value, onchange: send });
  }
  return h("div", { className: `field ${spec.kind}`, "data-name": spec.name }, words, control,
    spec.help ? h("p", { id: help, className: "help" }, spec.help) : null);
}

/** Controls that are drawn anew only where their description has changed, so that focus stays. */
function fields(change) {
  const root = h("div", { className: "fields" }), drawn = new Map();
  root.show = (specs) => {
    for (const spec of specs) {
      const text = JSON.stringify(spec), before = drawn.get(spec.name);
      if (before?.text === text && before.value() === spec.value) continue;
      const focused = before && before.node.contains(root.getRootNode().activeElement);
      const node = field(spec, change), control = node.querySelector("select, input");
      if (before) before.node.replaceWith(node); else root.append(node);
      if (focused) control.focus();
      drawn.set(spec.name, { text, node, value: () => control.value });
    }
    for (const [name, { node }] of drawn) {
      if (!specs.some((spec) => spec.name === name)) { node.remove(); drawn.delete(name); }
    }
  };
  return root;
}

/** Text to copy, with the button that does. */
function copyable(title) {
  const text = h("pre", { tabIndex: 0, "aria-label": title }), button = h("button", { type: "button" }, "Copy");
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(text);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: copy with the keyboard";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  };
  const root = h("div", { className: "copyable" }, h("h3", {}, title), text, button);
  root.show = (value) => { text.textContent = value; };
  return root;
}

function repeated(served) {
  const link = copyable("Link"), command = copyable("Command"), python = copyable("Python");
  const note = h("p", { className: "help" });
  const root = h("details", { className: "repeat" }, h("summary", {}, "Repeat this"), link, note, command, python);
  root.show = (state) => {
    link.show(served ? `${location.origin}${location.pathname}?${state.link}` : `?${state.link}`);
    note.textContent = state.no_link;
    command.show(state.command);
    python.show(state.python);
    if (served) history.replaceState(null, "", `?${state.link}`);
  };
  return root;
}

/** What is being computed, how far it is, and the button that stops it. */
function progress(send) {
  const bar = h("progress", { "aria-label": "Progress" }), words = h("span", { role: "status" });
  const cancel = h("button", { type: "button", onclick: () => send({ do: "cancel" }) }, "Cancel");
  const root = h("div", { className: "progress" }, bar, words, cancel);
  root.show = ({ phase, stage, done, total, left, place, error }) => {
    const busy = phase === "running" || phase === "waiting";
    root.classList.toggle("busy", busy);
    cancel.hidden = bar.hidden = !busy;
    if (busy && total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
    if (phase === "waiting") words.textContent = place ? `Waiting: ${place} before you` : "Waiting";
    else if (phase !== "running") words.textContent = error;
    else {
      const time = left == null ? "" : left < 1 ? ", a moment left" : `, about ${Math.ceil(left)} s left`;
      words.textContent = (stage || "starting") + (total ? ` ${done} of ${total}` : "") + time;
    }
  };
  return root;
}

/** A list of tabs after the pattern of the ARIA guide: arrow keys move, the panel follows. */
function tabs(titles, panels, choose) {
  const list = h("div", { className: "tabs", role: "tablist", "aria-label": "Workbench" });
  const keys = Object.keys(titles), stem = unique("tab");
  const buttons = keys.map((key, at) => h("button", {
    type: "button", role: "tab", id: `${stem}-${key}`, "aria-controls": `${stem}-panel-${key}`,
    onclick: () => choose(key),
    onkeydown: (event) => {
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: keys.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = (to + keys.length) % keys.length;
      buttons[next].focus();
      choose(keys[next]);
    },
  }, titles[key]));
  keys.forEach((key) => {
    Object.assign(panels[key], { id: `${stem}-panel-${key}`, tabIndex: -1 });
    panels[key].setAttribute("role", "tabpanel");
    panels[key].setAttribute("aria-labelledby", `${stem}-${key}`);
  });
  list.append(...buttons);
  list.show = (tab) => keys.forEach((key, at) => {
    buttons[at].setAttribute("aria-selected", key === tab);
    buttons[at].tabIndex = key === tab ? 0 : -1;
    panels[key].hidden = key !== tab;
  });
  return list;
}

function legend(fixed) {
  return h("ul", { className: "legend", "aria-label": "Labels" }, fixed.labels.map((label, at) =>
    h("li", {}, h("i", { style: `background: ${rgb(fixed.colours[at])}` }), label)));
}

function save(file) {
  const bytes = Uint8Array.from(atob(file.content), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes]));
  const link = h("a", { href: address, download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const TITLES = { explore: "Explore", sheet: "Contact sheet", compare: "A / B", paint: "Paint", neighbours: "Neighbours" };

export function render({ model, el }) {
  const fixed = model.fixed, send = (action) => model.send_msg(action);
  const change = (name, value) => send({ do: "set", name, value });
  const panels = { explore: explore(fixed, send), sheet: sheet(fixed, send, change), compare: comparison(send, change),
    paint: paint(fixed, send), neighbours: neighbours(send, model.get_child("plot")) };
  const content = fields(change), settings = fields(change);
  const bar = progress(send), repeat = repeated(fixed.served), list = tabs(TITLES, panels, (tab) => {
    list.show(tab); // at once, however busy the server is
    change("tab", tab);
  });
  const fault = h("p", { className: "fault", role: "alert", hidden: true });
  const drawn = h("p", { className: "help" }), looks = appearances(send, change);
  const generated = h("button", { type: "button", onclick: () => send({ do: "generated_mask" }) }, "Use a generated mask");
  const side = h("section", { className: "side", "aria-label": "Settings" },
    h("h2", {}, "What"), content, drawn, generated, looks,
    h("details", { open: innerWidth > 800 }, h("summary", {}, "How it is sampled"),
      h("label", { className: "check" }, h("input", { type: "checkbox",
        onchange: (event) => root.classList.toggle("explained", event.target.checked) }), "Explain the settings"),
      settings), repeat);
  const root = h("div", { className: "workbench" },
    h("header", {}, h("div", { className: "title" }, h("h1", {}, "Workbench"),
      h("p", {}, "Synthetic tissue. Not for diagnosis.")), list, bar),
    fault, h("div", { className: "columns" }, side, h("div", { className: "stage" }, Object.values(panels))));
  const parts = {
    state: (state) => {
      content.show([
        { name: "context", label: "context", kind: "menu", options: fixed.contexts, value: state.context },
        { name: "size", label: "size, px", kind: "box", value: state.size, help: "Height x width, multiples of 8." },
        state.seed,
      ]);
      drawn.textContent = state.drawn ? "Under a mask that was drawn." : "The model makes the mask, of context and seed.";
      generated.hidden = !state.drawn;
      list.show(state.tab);
      repeat.show(state);
      if (state.tab === "neighbours") window.dispatchEvent(new Event("resize")); // plots measure themselves when shown
    },
    controls: ({ a, b }) => { settings.show(a.filter(({ name }) => name !== "seed" && name !== "appearance")); panels.compare.controls(b, a); panels.sheet.controls(a); },
    status: (status) => { bar.show(status); panels.explore.status(status); },
    fault: (text) => { fault.textContent = text; fault.hidden = !text; },
    file: save,
  };
  for (const panel of [looks, ...Object.values(panels)]) {
    for (const [name, show] of Object.entries(panel.parts)) {
      const before = parts[name];
      parts[name] = before ? (value) => { before(value); show(value); } : show;
    }
  }
  model.on("msg:custom", (event) => {
    const message = event?.data ?? event;
    for (const [name, value] of Object.entries(message)) parts[name]?.(value);
  });
  if (fixed.served) document.body.style.margin = 0;
  send({ do: "open" });
  return root;
}

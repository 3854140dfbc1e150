// The page part that `browser_page.py` writes: draws a mask, has workers evaluate the networks, shows what grows. Sampling
// itself is browser_sampler.js, before this in the same file; WORKER holds browser_worker.js.
"use strict";
const BrowserPaint = (() => {
  const CELL = 8; // px of a latent pixel
  const UNDO = 50; // strokes
  const RARELY = 5; // levels from one decoded to the next, where decoding holds the run up
  class Cancelled extends Error {}

  // ---- What is loaded: bytes that come as scripts, since a page that was opened from a file may not fetch ----------

  const parts = {}; // of each name, base64 of gzip
  const take = (name, number, text) => { (parts[name] ??= [])[number] = text; };

  function script(address) {
    return new Promise((resolve, reject) => {
      const element = Object.assign(document.createElement("script"), { src: address, onload: resolve });
      element.onerror = () => reject(new Error(`expected ${address}, got no such file`));
      document.head.append(element);
    });
  }

  async function unpack(name) {
    const binary = parts[name].map((text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
    delete parts[name];
    const stream = new Blob(binary).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // ---- Workers ----------------------------------------------------------------------------------------------------

  // Workers that take tasks in their order, each one at a time.
  class Pool {
    constructor(count) {
      const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
      this.all = Array.from({ length: count }, () => new Worker(address));
      this.idle = [...this.all];
      this.queue = [];
    }

    // begun: called when a worker takes it.
    run(message, begun = () => {}) {
      return new Promise((resolve, reject) => {
        this.queue.push({ message, begun, resolve, reject });
        this.next();
      });
    }

    next() {
      if (!this.queue.length || !this.idle.length) return;
      const worker = this.idle.pop(), { message, begun, resolve, reject } = this.queue.shift();
      const done = (settle) => { this.idle.push(worker); settle(); this.next(); };
      worker.onmessage = ({ data }) => done(() => (data.error === undefined ? resolve(data.value) : reject(new Error(data.error))));
      worker.onerror = (event) => done(() => reject(new Error(event.message || "the worker could not start")));
      worker.postMessage(message);
      begun();
    }

    // Forget what no worker has begun.
    clear() {
      for (const { reject } of this.queue.splice(0)) reject(new Cancelled());
    }

    close() {
      this.clear();
      for (const worker of this.all) worker.terminate();
    }
  }

  // ---- PNG --------------------------------------------------------------------------------------------------------

  function crc32(bytes) {
    let crc = ~0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }

  // The PNG of a canvas with a text in it (a chunk tEXt after the header), so that the file says itself what it is.
  async function png(canvas, texts) {
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const bytes = new Uint8Array(await blob.arrayBuffer()), header = 8 + 25;
    const chunks = Object.entries(texts).map(([key, text]) => {
      const body = Uint8Array.from(`tEXt${key}\0${text}`, (character) => character.charCodeAt(0));
      const chunk = new Uint8Array(body.length + 8), view = new DataView(chunk.buffer);
      view.setUint32(0, body.length - 4);
      chunk.set(body, 4);
      view.setUint32(body.length + 4, crc32(body));
      return chunk;
    });
    return new Blob([bytes.subarray(0, header), ...chunks, bytes.subarray(header)], { type: "image/png" });
  }

  // ---- Masks: one label a cell, row by row --------------------------------------------------------------------------

  const EXAMPLES = { // label at (x, y) from -1 to 1
    nest: (x, y) => {
      const angle = Math.atan2(y, x), radius = Math.hypot(x, y) * (1 + 0.13 * Math.sin(3 * angle + 1) + 0.07 * Math.sin(7 * angle));
      return radius < 0.25 ? 2 : radius < 0.7 ? 1 : 3;
    },
    front: (x, y) => {
      const at = x + 0.18 * Math.sin(4 * y);
      return at < -0.15 ? 1 : at < 0.45 ? 3 : 5;
    },
    blank: () => 0,
  };

  function exampleMask(name, side) {
    const at = (k) => (2 * (k + 0.5)) / side - 1;
    return Uint8Array.from({ length: side * side }, (_, i) => EXAMPLES[name](at(i % side), at(Math.floor(i / side))));
  }

  // A mask with its history.
  class Mask {
    constructor(side, labels) { Object.assign(this, { side, labels, past: [], future: [] }); }

    begin() {
      this.past = [...this.past.slice(1 - UNDO), this.labels.slice()];
      this.future = [];
    }

    step(from, to) {
      if (!from.length) return false;
      to.push(this.labels);
      this.labels = from.pop();
      return true;
    }

    undo() { return this.step(this.past, this.future); }
    redo() { return this.step(this.future, this.past); }

    // A round brush, `width` cells across, from one place to another; places in cells, (0.5, 0.5) is the first one's
    // middle. The cell under the brush's middle is painted in any case.
    stroke(from, to, width, label) {
      const steps = Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)) || 1, r = width / 2, { side } = this;
      for (let k = 0; k <= steps; k++) {
        const x = from.x + ((to.x - from.x) * k) / steps, y = from.y + ((to.y - from.y) * k) / steps;
        for (let row = Math.max(Math.floor(y - r), 0); row <= Math.min(y + r, side - 1); row++) {
          for (let column = Math.max(Math.floor(x - r), 0); column <= Math.min(x + r, side - 1); column++) {
            const under = row === Math.floor(y) && column === Math.floor(x);
            if (under || Math.hypot(column + 0.5 - x, row + 0.5 - y) <= r) this.labels[row * side + column] = label;
          }
        }
      }
    }
  }

  // ---- The page ---------------------------------------------------------------------------------------------------

  function start(root) {
    const settings = JSON.parse(root.dataset.settings);
    const part = (name) => root.querySelector(`[data-part=${name}]`);
    const say = (text) => { part("status").textContent = text; };
    const value = (name) => Number(part(name).value);
    const label = () => Number(root.querySelector("[data-part=label]:checked").value);

    // -- drawing the mask

    let mask, cursor, drawing = null; // cursor: the brush's place in cells; drawing: where a stroke is, while it lasts
    const sheet = part("mask"), ink = sheet.getContext("2d");

    // A canvas of the chosen size, the mask on it stretched or shrunk, and no tissue yet.
    function resize() {
      const side = value("size") / CELL, before = mask;
      const from = (k) => Math.floor((k * before.side) / side);
      const labels = before
        ? Uint8Array.from({ length: side * side }, (_, i) => before.labels[from(Math.floor(i / side)) * before.side + from(i % side)])
        : exampleMask(part("example").value, side);
      mask = new Mask(side, labels);
      cursor = { x: side / 2 + 0.5, y: side / 2 + 0.5 };
      for (const name of ["tissue", "time"]) {
        [part(name).width, part(name).height] = [value("size"), value("size")];
        part(name).setAttribute("aria-label", "Nothing painted yet");
      }
      states = [];
      showLevels();
      showMask();
    }

    function showMask() {
      const scale = sheet.width / mask.side, colour = (i) => `rgb(${settings.colours[i]})`;
      mask.labels.forEach((found, i) => {
        ink.fillStyle = colour(found);
        ink.fillRect((i % mask.side) * scale, Math.floor(i / mask.side) * scale, scale, scale);
      });
      if (document.activeElement === sheet) { // where the keys paint: dark in light, to be seen on every colour
        for (const [width, style] of [[5, "#fff"], [2, "#000"]]) {
          ink.beginPath();
          ink.arc(cursor.x * scale, cursor.y * scale, Math.max(value("brush") / 2, 0.5) * scale, 0, 2 * Math.PI);
          [ink.lineWidth, ink.strokeStyle] = [width, style];
          ink.stroke();
        }
      }
      part("undo").disabled = !mask.past.length;
      part("redo").disabled = !mask.future.length;
      const shares = settings.labels.map((name, i) => [name, mask.labels.filter((found) => found === i).length / mask.labels.length]);
      const words = shares.filter(([, share]) => share > 0).map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
      sheet.setAttribute("aria-label", `Mask: ${words.join(", ")}`);
    }

    function change(act) {
      mask.begin();
      act();
      showMask();
    }

    function place(event) {
      const box = sheet.getBoundingClientRect(), at = (x, extent) => Math.min(Math.max(x / extent, 0), 0.9999) * mask.side;
      return { x: at(event.clientX - box.left, box.width), y: at(event.clientY - box.top, box.height) };
    }

    sheet.onpointerdown = (event) => {
      if (event.button) return;
      sheet.setPointerCapture(event.pointerId);
      cursor = drawing = place(event);
      change(() => mask.stroke(drawing, drawing, value("brush"), label()));
    };
    sheet.onpointermove = (event) => {
      if (!drawing) return;
      const to = place(event);
      mask.stroke(drawing, to, value("brush"), label());
      cursor = drawing = to;
      showMask();
    };
    sheet.onpointerup = sheet.onpointercancel = () => { drawing = null; };
    sheet.onfocus = sheet.onblur = () => showMask();

    const undo = () => { mask.undo(); showMask(); }, redo = () => { mask.redo(); showMask(); };
    const choose = (number) => { root.querySelector(`[data-part=label][value="${number}"]`).checked = true; };
    const widen = (by) => { part("brush").value = value("brush") + by; part("brush").oninput(); };
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const within = (x) => Math.min(Math.max(x, 0.5), mask.side - 0.5);
    const keys = {
      " ": () => change(() => mask.stroke(cursor, cursor, value("brush"), label())),
      z: undo, y: redo, e: () => choose(0), "+": () => widen(1), "-": () => widen(-1),
    };
    keys.Enter = keys[" "];
    settings.labels.forEach((_, number) => { keys[number] = () => choose(number); });
    sheet.onkeydown = (event) => {
      const way = ways[event.key], act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (way) {
        const from = { x: Math.floor(cursor.x) + 0.5, y: Math.floor(cursor.y) + 0.5 };
        cursor = { x: within(from.x + way[0]), y: within(from.y + way[1]) };
        if (event.shiftKey) change(() => mask.stroke(from, cursor, value("brush"), label()));
        else showMask();
      } else if (act && !event.altKey) act();
      else return;
      event.preventDefault();
      if (way) {
        const found = mask.labels[Math.floor(cursor.y) * mask.side + Math.floor(cursor.x)];
        part("place").textContent = `Row ${Math.ceil(cursor.y)}, column ${Math.ceil(cursor.x)}: ${settings.labels[found]}`;
      }
    };
    part("undo").onclick = undo;
    part("redo").onclick = redo;
    part("fill").onclick = () => change(() => mask.labels.fill(label()));
    part("clear").onclick = () => change(() => mask.labels.fill(0));
    part("brush").oninput = () => { part("brush-width").textContent = `${CELL * value("brush")} px`; showMask(); };
    part("example").onchange = () => change(() => mask.labels.set(exampleMask(part("example").value, mask.side)));
    part("size").onchange = resize;

    // -- what was reached: the estimate of the clean latents after each level, and which pixels had how many steps left

    let states = [], shown = 0, looking = false;
    const levels = part("level");

    function showLevels() {
      levels.max = Math.max(states.length - 1, 0);
      levels.value = shown;
      levels.disabled = states.length < 2;
      part("level-words").textContent = states.length ? `${shown + 1} of ${states[0].made.steps}` : "none yet";
      part("save").disabled = !states[shown]?.pixels;
    }

    function show(number) {
      shown = number;
      const state = states[number];
      showTime(state.stepsLeft, state.made.steps, []);
      showLevels();
      if (state.pixels) paintPixels(state);
      else look();
    }

    // The picture of a state by the decoder, once.
    function decode(state) {
      const canvas = state.side + 2 * settings.facts.margin;
      state.picture ??= pool.run({ task: "decode", z: state.clean, rows: canvas, columns: canvas }).then((pixels) => {
        state.pixels = pixels;
        if (states[shown] === state) paintPixels(state);
      }).catch((error) => { state.picture = null; throw error; });
      return state.picture;
    }

    // Whether a level is worth the decoder while the picture is painted: always if a worker is idle; a run that keeps
    // all of them busy is held up, so that of its levels one in five is.
    const worthwhile = ({ made }) => !growing || growing < pool.all.length || made.level % RARELY === 0;

    // Decodes what is shown, one picture at a time: of levels that went by meanwhile none is made.
    async function look() {
      if (looking || !worthwhile(states[shown])) return;
      looking = true;
      try {
        while (states[shown] && !states[shown].pixels && worthwhile(states[shown])) await decode(states[shown]);
      } catch (error) {
        if (!(error instanceof Cancelled)) say(`That did not work: ${error.message}.`);
      } finally {
        looking = false;
      }
    }

    function paintPixels(state) {
      const side = state.side * CELL;
      part("tissue").getContext("2d").putImageData(new ImageData(state.pixels, side, side), 0, 0);
      part("tissue").setAttribute("aria-label", `Synthetic tissue, ${state.made.context}, as estimated at level ${state.made.level} of ${state.made.steps}`);
      showLevels();
    }

    // Side of the windows of a picture: a small one is a single window with its margin (config.usual_patch).
    function windowSide(side) {
      const { patch, margin } = settings.facts;
      return side <= patch ? side + 2 * margin : patch;
    }

    // Steps left by pixel, dark where none are, and a frame around every window that is with the network.
    function showTime(stepsLeft, steps, open) {
      const canvas = part("time"), side = Math.sqrt(stepsLeft.length), scale = canvas.width / side, pen = canvas.getContext("2d");
      stepsLeft.forEach((left, i) => {
        const share = left / steps;
        pen.fillStyle = `rgb(${settings.ramp[0].map((from, k) => Math.round(from + (settings.ramp[1][k] - from) * share))})`;
        pen.fillRect((i % side) * scale, Math.floor(i / side) * scale, scale, scale);
      });
      [pen.lineWidth, pen.strokeStyle] = [canvas.width / 112, "rgb(213, 94, 0)"];
      for (const window of open) {
        const extent = windowSide(side) * scale - pen.lineWidth, inset = pen.lineWidth / 2;
        const [x, y] = [window.left, window.top].map((start) => (start - settings.facts.margin) * scale + inset);
        pen.strokeRect(x, y, extent, extent);
      }
      const [low, high] = [Math.min(...stepsLeft), Math.max(...stepsLeft)];
      const words = low === high ? `${low} of ${steps} steps left` : `${low} to ${high} of ${steps} steps left`;
      canvas.setAttribute("aria-label", `Timestep map: ${words}`);
      part("time-words").textContent = words;
    }

    levels.oninput = () => show(value("level"));

    // -- loading and painting

    let pool = null, cancelled = false, growing = 0; // growing: calls of the network that a level makes side by side
    const busy = (is) => {
      for (const name of ["paint", "another", "size", "build"]) part(name).disabled = is;
      part("cancel").disabled = !is;
    };
    const goOn = () => { if (cancelled) throw new Cancelled(); };

    const loaded = new Set(), unpacked = {};

    function noCard() {
      part("build").value = "wasm";
      part("build").querySelector("[value=webgpu]").disabled = true;
    }

    // Whether the browser offers a graphics card is asked on the click, and the answer is shown in the menu.
    async function findCard() {
      if (part("build").value === "webgpu" && !await navigator.gpu.requestAdapter()) noCard();
    }

    async function load() {
      await findCard();
      const build = settings.builds[part("build").value], bar = part("bar");
      const files = [...settings.model, ...build.files], total = files.reduce((sum, file) => sum + file.bytes, 0);
      let done = 0;
      for (const { address, bytes } of files) {
        goOn();
        if (!loaded.has(address)) await script(address);
        loaded.add(address);
        done += bytes;
        bar.value = done / total;
        say(`Loading: ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`);
      }
      say("Opening the networks, which takes some seconds");
      const message = { task: "open", provider: part("build").value };
      const bytes = async (name) => (unpacked[name] ??= await unpack(name));
      for (const [key, name] of Object.entries(build.runtime)) message[key] = await bytes(name);
      message.graphs = {};
      for (const name of settings.graphs) message.graphs[name] = await bytes(name);
      // A graphics card takes one window after the other; on the processor every worker has a core to itself.
      const count = part("build").value === "webgpu" ? 1 : Math.min(navigator.hardwareConcurrency || 1, 2);
      const opened = new Pool(count);
      message.code = new TextDecoder().decode(message.code);
      await Promise.all(opened.all.map(() => opened.run(message)));
      goOn();
      pool = opened;
    }

    async function paint() {
      busy(true);
      cancelled = false;
      try {
        if (!pool) await load();
        await grow();
      } catch (error) {
        say(error instanceof Cancelled ? "Cancelled." : `That did not work: ${error.message}.`);
      } finally {
        growing = 0;
        if (states[shown] && !states[shown].pixels) look();
        busy(false);
        part("bar").value = 0;
        if (pool) part("paint").textContent = "Paint tissue";
      }
    }

    async function grow() {
      const { facts } = settings, { side } = mask, [seed, steps, omega] = ["seed", "steps", "omega"].map(value);
      if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`expected a seed from 0 to ${Number.MAX_SAFE_INTEGER}, got ${part("seed").value}`);
      const context = part("context").value, began = performance.now(), drawn = facts.draft ? value("draft-steps") : 0;
      const { margin } = facts, canvas = side + 2 * margin, labels = Sampler.mirrored(mask.labels, side, margin);
      const patch = windowSide(side), windows = Sampler.windows(canvas, canvas, patch).length;
      let evaluations = 0, done = 0;

      // The levels of a stage: what `Sampler.sample` yields, and which pixels have how many steps left.
      async function* levelsOf(network, words, run) {
        const stepsLeft = new Uint16Array(side * side).fill(run.steps), open = new Set();
        let level = 0;
        const evaluate = async (z, t, conditions, window) => {
          const found = await pool.run({ task: "evaluate", network, z, t, conditions }, () => {
            open.add(window);
            showTime(stepsLeft, run.steps, open);
          });
          goOn();
          evaluations++;
          return found;
        };
        const added = (window) => {
          open.delete(window);
          const [top, left, bottom, right] = [window.top, window.left, window.top + patch, window.left + patch]
            .map((edge) => Math.min(Math.max(edge - margin, 0), side)); // within the picture
          for (let row = top; row < bottom; row++) stepsLeft.fill(run.steps - level - 1, row * side + left, row * side + right);
          showTime(stepsLeft, run.steps, open);
          part("bar").value = ++done / ((drawn + steps) * windows);
        };
        say(`${words} 1 of ${run.steps}`);
        const whole = { patch, rows: canvas, columns: canvas, context, omega, ...run };
        for await (const { clean, z } of Sampler.sample(labels, whole, evaluate, added)) {
          level++;
          if (level < run.steps) say(`${words} ${level + 1} of ${run.steps}`);
          yield { clean, z, level, stepsLeft: stepsLeft.slice() };
        }
      }

      states = [];
      growing = windows * (omega > 0 ? 2 : 1);
      let beside = facts.draft ? Sampler.noDraft(facts.draft.mean.length, canvas * canvas) : undefined, draft, appearance;
      if (drawn) {
        appearance = turned ?? ownCode();
        const told = Sampler.everywhere([...appearance, 1], canvas * canvas); // 1: the code is known
        const run = { channels: facts.draft.mean.length, gain: facts.draft.gain, seed: Sampler.draftSeed(seed, context), steps: drawn, beside: told };
        for await (const { clean, z, level } of levelsOf("draft", "Draft, level", run)) {
          draft = z;
          showDraft(clean, side, level, drawn);
        }
        beside = Sampler.underDraft(draft, seed, facts.draft.noise, canvas, canvas);
      }
      const run = { channels: facts.channels, gain: facts.gain, seed, steps, beside };
      for await (const { clean, level, stepsLeft } of levelsOf("image", drawn ? "Detail, level" : "Level", run)) {
        const made = { context, seed, steps, omega, draft_steps: drawn, appearance, solver: "dpm-solver++", plan: "mixture", level, model: facts.model };
        states.push({ clean, side, stepsLeft, made });
        if (level === steps) say("Decoding");
        show(states.length - 1);
      }
      await decode(states.at(-1)); // the last estimate is the picture: the last step ends without noise
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      say(`Painted in ${seconds} s with ${evaluations} evaluations of the network. Synthetic, not for diagnosis.`);
      const other = drawn && (turned ? ` --appearance ${turned.map((number) => number.toFixed(4)).join(",")}`
        : seed < codesOf(context).length ? "" : ` --appearance ${seed % codesOf(context).length}`);
      part("same").textContent = `diffinfinite sample --mask mask.png --context ${context} --solver dpm-solver++ `
        + `--draft-steps ${drawn} --steps ${steps} --omega ${omega} --seed ${seed}${other || ""} --out out/`;
    }

    // A draft as it emerges: a pixel for each of its own, made as large as the picture.
    function showDraft(clean, side, level, steps) {
      const { margin, draft } = settings.facts, canvas = side + 2 * margin, small = new OffscreenCanvas(side, side);
      const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
      for (let channel = 0; channel < 3; channel++) {
        for (let row = 0; row < side; row++) {
          for (let column = 0; column < side; column++) {
            const value = clean[(channel * canvas + row + margin) * canvas + column + margin];
            pixels[4 * (row * side + column) + channel] = (value * draft.std[channel] + draft.mean[channel] + 1) * 127.5;
          }
        }
      }
      small.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
      part("tissue").getContext("2d").drawImage(small, 0, 0, side * CELL, side * CELL);
      part("tissue").setAttribute("aria-label", `Draft of synthetic tissue, level ${level} of ${steps}`);
    }

    // -- appearance: that of the seed, or one that was turned along the axes

    let turned = null; // 16 numbers
    const codesOf = (context) => settings.facts.draft.codes[context];
    const ownCode = () => codesOf(part("context").value)[value("seed") % codesOf(part("context").value).length] ?? codesOf(part("context").value)[0];

    // Where a code lies on an axis, in standard deviations from the mean.
    function placeOn(code, number) {
      const [mean, ...axes] = settings.facts.draft.axes[part("context").value], axis = axes[number];
      const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
      return dot(code.map((x, i) => x - mean[i]), axis) / dot(axis, axis);
    }

    function showAppearance() {
      if (!settings.facts.draft) return;
      for (const number of settings.facts.draft.axes[part("context").value].slice(1).keys()) {
        const place = placeOn(turned ?? ownCode(), number);
        part(`axis-${number}`).value = place;
        part(`axis-${number}-value`).textContent = place.toFixed(1);
      }
      part("own-appearance").disabled = !turned;
    }

    function turn(number) {
      const axis = settings.facts.draft.axes[part("context").value][number + 1], code = turned ?? ownCode();
      const by = value(`axis-${number}`) - placeOn(code, number);
      turned = code.map((x, i) => x + by * axis[i]);
      showAppearance();
    }

    if (settings.facts.draft) {
      for (const number of [0, 1]) part(`axis-${number}`).oninput = () => turn(number);
      part("own-appearance").onclick = () => { turned = null; showAppearance(); };
      part("context").onchange = () => { turned = null; showAppearance(); };
      part("seed").onchange = showAppearance;
      part("draft-steps").oninput = () => { part("draft-steps-value").textContent = part("draft-steps").value; };
    }

    part("paint").onclick = paint;
    part("cancel").onclick = () => {
      cancelled = true;
      pool?.clear();
      say("Stopping after this call of the network");
    };
    part("another").onclick = () => {
      part("seed").value = value("seed") + 1;
      showAppearance();
      paint();
    };
    for (const name of ["steps", "omega"]) part(name).oninput = () => { part(`${name}-value`).textContent = part(name).value; };
    part("build").onchange = () => {
      pool?.close();
      pool = null;
      offer();
    };
    const offer = () => {
      const megabytes = settings.builds[part("build").value].megabytes;
      part("paint").textContent = `Load ${megabytes} MB and paint`;
    };

    async function save(canvas, name, texts) {
      const address = URL.createObjectURL(await png(canvas, texts));
      Object.assign(document.createElement("a"), { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }

    part("save").onclick = () => save(part("tissue"), "image.png", {
      Description: "Synthetic tissue made by a diffusion model in a browser. Research and teaching only, not for diagnosis.",
      Software: "DiffInfinite Lite", Comment: JSON.stringify(states[shown].made),
    });
    part("save-mask").onclick = () => { // in the colours of labels.py, which `--mask` reads
      const canvas = Object.assign(document.createElement("canvas"), { width: mask.side * CELL, height: mask.side * CELL });
      const pen = canvas.getContext("2d");
      mask.labels.forEach((found, i) => {
        pen.fillStyle = `rgb(${settings.colours[found]})`;
        pen.fillRect((i % mask.side) * CELL, Math.floor(i / mask.side) * CELL, CELL, CELL);
      });
      save(canvas, "mask.png", { Software: "DiffInfinite Lite" });
    };

    if (!navigator.gpu) noCard();
    resize();
    showAppearance();
    offer();
    busy(false);
    say("Nothing is loaded yet.");
  }

  return { Mask, exampleMask, start, take };
})();
document.querySelectorAll(".browser-paint").forEach(BrowserPaint.start);

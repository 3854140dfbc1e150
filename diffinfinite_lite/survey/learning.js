// The learning survey: blocks of five pictures with the truth after each, blurred by a staircase, and a curve at the end.
// The blur is the browser's own, of the survey's own files, and the same for real and synthetic ones.

const ENOUGH = 10; // answers, before a curve is drawn of them
const VERDICTS = [ // what is left to go by, down from this level in um
  [1.5, "chromatin and the finest texture"], [5, "the outlines of nuclei and fibres"],
  [12, "nuclei as blobs, and how they lie"], [Infinity, "colours and the layout of the tissue"]];

const learning = (root, settings) => {
  const stage = root.querySelector("[data-part=stage]"), intro = root.querySelector("[data-part=intro]");
  const find = (what) => stage.querySelector(what), items = new Map(settings.items.map((item) => [item.name, item]));
  const top = settings.details.length - 1, total = Math.min(settings.most, settings.items.length);
  const key = `diffinfinite-learning-${settings.survey}`;
  let state = null, kept = true, lens = null, shown = null, seconds = 0, given = {}, opened = null;

  const save = () => { try { localStorage.setItem(key, JSON.stringify(state)); } catch { kept = false; } };
  const truth = (name) => { // of one picture; the staircase asks for it after the first answer
    opened ??= unseal(settings).truth.map(([real]) => KINDS[real ? 0 : 1]);
    return opened[settings.items.findIndex((item) => item.name === name)];
  };
  const rows = () => state.trials.map((trial, i) => ({ ...trial, position: i + 1, truth: truth(trial.name), right: truth(trial.name) === trial.answer }));
  const detail = (level) => settings.details[level] === null ? "sharp" : `details from ${settings.details[level]}\u00a0µm`;
  const clock = (running) => {
    if (shown !== null) seconds += (performance.now() - shown) / 1000;
    shown = running ? performance.now() : null;
  };
  document.addEventListener("visibilitychange", () => { if (find("form.ask")) clock(!document.hidden); });

  const show = (html, focus = true, asking = false) => {
    root.classList.toggle("asking", asking); // before the blur is set, which depends on how large a picture is shown
    stage.innerHTML = html;
    stage.querySelectorAll("img[data-level]").forEach(blurred);
    if (!focus) return;
    find("h2").focus({ preventScroll: true });
    if (!asking || !settings.alone) find("h2").scrollIntoView({ block: "start" });
  };
  // A Gaussian whose full width at half maximum is the finest detail left, in px of the screen; it fades out into the mean
  // colour of the picture.
  const blurred = (image) => {
    const item = items.get(image.dataset.name), frame = image.parentElement, put = () => {
      const width = settings.details[image.dataset.level], shown = frame.clientWidth;
      image.style.filter = width && shown ? `blur(${(width / settings.mpp / 2.3548 * shown / settings.sides[item.size]).toFixed(2)}px)` : "";
    };
    const watch = new ResizeObserver(() => { if (image.parentElement === frame && frame.isConnected) put(); else watch.disconnect(); });
    frame.style.background = `rgb(${item.mean.join()})`;
    watch.observe(frame);
    put();
  };

  const welcome = (focus) => {
    intro.hidden = false;
    const go = state ? `<div class="row"><button type="button" class="main" data-do="go">Go on with picture ${state.trials.length + 1}</button>
      <button type="button" data-do="again">Begin again</button></div>` : '<button type="button" class="main" data-do="begin">Start</button>';
    show(`<h2 tabindex="-1">${state ? "Welcome back" : "Train your eye"}</h2>
      <p>${state ? `${count(state.trials.length, "picture")} of ${total} answered.` : `Up to ${total} pictures, about ten minutes.
        After each five you see which you had right.`} Nothing leaves this browser.</p>${go}`, focus);
  };
  const begin = () => {
    const order = settings.items.map((item) => item.name); // in no balanced blocks: those could be counted out
    for (let i = order.length - 1; i > 0; i--) {
      const j = random(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    state = { survey: settings.survey, order: order.slice(0, total), trials: [], level: 0 };
    save();
    ask();
  };

  const ask = () => {
    intro.hidden = true;
    given = {};
    seconds = 0;
    const at = state.trials.length, name = state.order[at], item = items.get(name), what = `${item.size} field, ${settings.widths[item.size]}`;
    const radio = (group, value, text) => `<label><input type="radio" name="${group}" value="${esc(value)}"><span>${text}</span></label>`;
    show(`<form class="ask" data-part="ask" novalidate>
      <div class="top"><h2 tabindex="-1">Picture ${at + 1} of ${total}</h2>
        <div class="tools"><button type="button" data-do="out" aria-label="Zoom out">&minus;</button><output aria-live="polite">1×</output>
          <button type="button" data-do="in" aria-label="Zoom in">+</button></div>
        <button type="button" data-do="stop">Pause</button>
        <progress max="${total}" value="${at}" aria-label="Pictures answered"></progress></div>
      <div class="room"><div class="frame" tabindex="0" role="group" aria-label="The picture; arrow keys move it when it is magnified">
        <img src="${esc(item.src)}" data-name="${esc(name)}" data-level="${state.level}" alt="Picture ${at + 1}: tissue, ${what}, ${detail(state.level)}" draggable="false"></div></div>
      <div class="said">
        <fieldset><legend>Real or synthetic? <small>${detail(state.level)}</small></legend>
          <div class="choice">${radio("answer", "real", "Real")}${radio("answer", "synthetic", "Synthetic")}</div></fieldset>
        <fieldset><legend>What decides? <small>if you can say</small></legend>
          <div class="choice cues">${settings.cues.map((cue) => radio("cue", cue, esc(cue))).join("")}</div></fieldset>
        <p class="alert" role="alert"></p>
        <div class="row steps"><button class="main">${(at + 1) % settings.block && at + 1 < total ? "Next" : "See the truth"}</button></div>
        <p class="soft keys">A ${what}. Keys: <kbd>R</kbd> real, <kbd>S</kbd> synthetic, <kbd>1</kbd> to <kbd>${settings.cues.length}</kbd> what decides,
          <kbd>Enter</kbd> next, <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom.</p>
      </div></form>`, true, true);
    lens = magnifier(find(".frame"), (scale) => { find("output").textContent = `${+scale.toFixed(1)}×`; });
    const following = items.get(state.order[at + 1]);
    if (following) new Image().src = following.src;
    clock(true);
  };
  const next = () => {
    if (!given.answer) {
      find(".alert").textContent = "Choose real or synthetic.";
      return find("input[name=answer]").focus();
    }
    clock(false);
    const name = state.order[state.trials.length], right = truth(name) === given.answer;
    state.trials.push({ name, level: state.level, answer: given.answer, cue: given.cue || "", seconds: Math.round(10 * seconds) / 10 });
    state.level = nextLevel(state.level, right, top);
    save();
    if (state.trials.length === total) result();
    else if (state.trials.length % settings.block) ask();
    else feedback();
  };

  const pictures = (some) => `<ul class="all">${some.map((row) => `<li><button type="button" data-item="${row.position}">
    <img src="${esc(items.get(row.name).src)}" loading="lazy" alt="Picture ${row.position}"><span class="${row.right ? "right" : "wrong"}">
    ${row.right ? "✓ right" : "✗ wrong"}</span><br>${row.truth}; you: ${row.answer}, ${detail(row.level)}${row.cue ? `<br>${esc(row.cue)}` : ""}</button></li>`).join("")}</ul>
    <dialog aria-label="One picture"><div class="frame still"><img alt=""></div><p aria-live="polite"></p>
      <label class="row"><input type="checkbox" data-do="seen"> As you saw it</label>
      <div class="row"><button type="button" data-go="-1" aria-label="Picture before">←</button><button type="button" data-go="1" aria-label="Picture after">→</button></div>
      <form method="dialog"><button class="main">Close</button></form></dialog>`;
  const look = (position) => {
    const all = rows(), row = all[(position - 1 + all.length) % all.length], dialog = find("dialog"), image = dialog.querySelector("img");
    dialog.dataset.at = row.position;
    image.parentElement.replaceChildren(Object.assign(new Image(), { src: items.get(row.name).src, alt: `Picture ${row.position}, ${row.truth}` }));
    dialog.querySelector("p").textContent = `Picture ${row.position}: ${row.truth}. You said ${row.answer} of it with ${detail(row.level)}`
      + `${row.cue ? `, because of: ${row.cue}` : ""}.`;
    if (!dialog.open) dialog.showModal();
    Object.assign(dialog.querySelector("img").dataset, { name: row.name, level: dialog.querySelector("input").checked ? row.level : 0 });
    blurred(dialog.querySelector("img"));
  };

  const feedback = () => {
    const block = rows().slice(-settings.block), right = block.filter((row) => row.right).length;
    show(`<h2 tabindex="-1">${right} of ${block.length} right</h2>
      <p>Look at them again, as sharp as they are: what would have told you? The next one comes with ${detail(state.level).replace("sharp", "all its detail")}.</p>
      <div class="row"><button type="button" class="main" data-do="go">Go on</button>
      ${state.trials.length >= ENOUGH ? '<button type="button" data-do="end">Stop here, show my curve</button>' : ""}</div>${pictures(block)}`);
  };

  // The curve: each level's share of right answers as a disc whose area is the number of pictures.
  const plot = (fit, levels) => {
    const x = (level) => 46 + 330 * level / top, y = (share) => 20 + 400 * (1 - share) * 0.6;
    const band = [...fit.curve.map((p) => `${x(p.x)},${y(p.high)}`), ...fit.curve.toReversed().map((p) => `${x(p.x)},${y(p.low)}`)].join(" ");
    const inside = (level) => Math.max(0, Math.min(top, level));
    const ticks = settings.details.map((d, i) => i % 2 && i < top ? "" : `<text x="${x(i)}" y="${y(0) + 18}" text-anchor="middle">${d ?? "sharp"}</text>`);
    const said = levels.map((l) => `${detail(l.level)}: ${l.right} of ${l.n}`).join("; ");
    return `<svg viewBox="0 0 400 ${y(0) + 42}" role="img" aria-label="Your curve. ${said}. It crosses 75% at level ${fit.threshold.toFixed(1)} of ${top}, 95% interval ${fit.low.toFixed(1)} to ${fit.high.toFixed(1)}."
      font-family="inherit" font-size="12" fill="currentColor"><polygon points="${band}" class="band"/>
      ${[0, 0.25, 0.5, 0.75, 1].map((s) => `<path d="M${x(0)} ${y(s)}H${x(top)}" stroke="currentColor" ${s ? `stroke-dasharray="${s === 0.75 ? "6 3" : "1 4"}"` : ""}/>
        <text x="${x(0) - 8}" y="${y(s) + 4}" text-anchor="end">${percent(s)}</text>`).join("")}
      <polyline points="${fit.curve.map((p) => `${x(p.x)},${y(p.share)}`).join(" ")}" fill="none" stroke="currentColor" stroke-width="2"/>
      ${levels.map((l) => `<circle cx="${x(l.level)}" cy="${y(l.right / l.n)}" r="${(2.6 * Math.sqrt(l.n) + 1).toFixed(1)}" class="full"/>`).join("")}
      <path d="M${x(inside(fit.low))} ${y(0.75)}H${x(inside(fit.high))}" class="reach"/>
      ${fit.threshold >= 0 && fit.threshold <= top ? `<circle cx="${x(fit.threshold)}" cy="${y(0.75)}" r="5" class="hollow" stroke="currentColor" stroke-width="2"/>` : ""}
      ${ticks.join("")}<text x="${x(top / 2)}" y="${y(0) + 36}" text-anchor="middle">finest detail left, µm</text></svg>`;
  };
  const micrometres = (level) => { // between the levels on their scale of powers of two
    if (level < 1) return "less than 1 µm";
    const low = Math.min(top - 1, Math.floor(level)), [a, b] = settings.details.slice(low, low + 2);
    return `${(a * (b / a) ** (level - low)).toFixed(1)} µm`;
  };
  const verdict = (fit) => {
    if (fit.threshold > top) return `<strong>Even where no detail under ${settings.details[top]} µm is left, you are right in more than three of four.</strong>
      What you go by is coarse: colour and layout.`;
    if (fit.threshold < 0) return `<strong>You are right in less than three of four, even of the sharp pictures.</strong> The paper's ten
      pathologists had 63% of theirs.`;
    const end = fit.high > top ? "or coarser still" : `to ${micrometres(fit.high)}`;
    const um = fit.threshold < 1 ? 0 : Number(micrometres(fit.threshold).split(" ")[0]);
    return `<strong>You are right in three of four while details of ${micrometres(fit.threshold)} are left</strong> (95% interval
      ${fit.low < 0 ? "not even the sharp ones" : micrometres(fit.low)} ${end}). At that level what is left to go by is: ${VERDICTS.find(([limit]) => um < limit)[1]}.`;
  };
  const result = (focus = true) => {
    state.done = true;
    save();
    intro.hidden = true;
    const all = rows(), fit = fitCurve(all, top), right = all.filter((row) => row.right).length;
    const levels = settings.details.map((_, level) => {
      const some = all.filter((row) => row.level === level);
      return { level, n: some.length, right: some.filter((row) => row.right).length };
    }).filter((level) => level.n);
    const cues = [...settings.cues, ""].map((cue) => {
      const some = all.filter((row) => row.cue === cue), good = some.filter((row) => row.right).length;
      return some.length ? [esc(cue) || "not said", `${good}\u00a0of\u00a0${some.length}`, `${percent(good / some.length)} (${wilson(good, some.length).map(percent).join(" to ")})`] : null;
    }).filter(Boolean);
    const said = all.filter((row) => row.answer === "synthetic").length, are = all.filter((row) => row.truth === "synthetic").length;
    show(`<h2 tabindex="-1">Your curve</h2>
      <p class="big">${verdict(fit)}</p>
      ${plot(fit, levels)}
      <p class="soft">Discs: share of right answers at a level, the larger the more pictures. Line and band: the curve fitted to them, and where it lies in
        95 of 100 cases. Thick bar: where it may cross 75%. Below 50% is worse than a coin.</p>
      <p>${right} of ${all.length} right. You said <em>synthetic</em> ${count(said, "time")}; ${are} were.</p>
      <h3>What gave it away?</h3><p>What you said decided, before you saw the truth. A cue you name often and are seldom right with is one to give up.</p>
      ${dataTable("What decided", ["cue", "right", "share (95% interval)"], cues)}
      <h3>By level</h3>${dataTable("By level", ["finest detail", "right"], levels.map((l) => [detail(l.level), `${l.right}\u00a0of\u00a0${l.n}`]))}
      <div class="row"><button type="button" data-do="json">Save as JSON</button><button type="button" data-do="again">Begin again</button></div>
      <h3>All pictures</h3>${pictures(all)}`, focus);
  };

  const actions = {
    begin, again: begin, go: () => ask(), end: () => result(),
    stop: () => { clock(false); if (state.trials.length >= ENOUGH) pause(); else welcome(true); },
    in: () => lens.by(1.5), out: () => lens.by(1 / 1.5),
    seen: () => look(Number(find("dialog").dataset.at)),
    json: () => hand(JSON.stringify({ format: settings.format, survey: state.survey, details: settings.details,
      fit: (({ threshold, low, high }) => ({ threshold, low, high }))(fitCurve(rows(), top)), trials: rows() }, null, 1) + "\n",
    "application/json", `learning-${state.survey}.json`),
  };
  const pause = () => show(`<h2 tabindex="-1">Pause</h2><p>${state.trials.length} of ${total} pictures are answered.
    ${kept ? "You can come back later." : "This browser keeps nothing: do not close the page."}</p><div class="row">
    <button type="button" class="main" data-do="go">Go on with picture ${state.trials.length + 1}</button>
    <button type="button" data-do="end">Show my curve</button></div>`);
  stage.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-item], [data-go]");
    if (!button) return;
    if (button.dataset.do) actions[button.dataset.do]?.();
    else if (button.dataset.go) look(Number(find("dialog").dataset.at) + Number(button.dataset.go));
    else look(Number(button.dataset.item));
  });
  stage.addEventListener("change", ({ target }) => {
    if (target.type !== "radio") return;
    given[target.name] = target.value;
    find(".alert").textContent = "";
  });
  stage.addEventListener("submit", (event) => {
    if (event.target.method === "dialog") return;
    event.preventDefault();
    next();
  });
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !find("form.ask")) return;
    const pressed = event.key.toLowerCase(), pick = (input) => input.click();
    if (pressed === "r" || pressed === "s") pick(find(`input[value=${pressed === "r" ? "real" : "synthetic"}]`));
    else if (/^[1-9]$/.test(pressed) && pressed <= settings.cues.length) pick(stage.querySelectorAll("input[name=cue]")[pressed - 1]);
    else if (pressed === "+" || pressed === "=") lens.by(1.5);
    else if (pressed === "-") lens.by(1 / 1.5);
    else if (pressed === "0") lens.whole();
    else if (pressed === "enter" && event.target.tagName !== "BUTTON") next();
    else return;
    event.preventDefault();
  });

  try { state = JSON.parse(localStorage.getItem(key)); } catch { kept = false; }
  if (state?.done) result(false); else welcome(false);
};
startGame("learning", learning);

// The survey: welcome, one picture at a time, pause. What comes after the last answer is in `result.js`, where answers are
// kept in `transport.js`. The truth is asked for when every picture has its answer, and not before.

const AGAIN = 4000; // ms until what a server did not accept is sent again

const survey = (root, settings) => {
  const stage = root.querySelector("[data-part=stage]"), intro = root.querySelector("[data-part=intro]");
  const find = (what) => stage.querySelector(what), items = new Map(settings.items.map((item) => [item.name, item]));
  const transport = settings.server ? onServer(settings) : inBrowser(settings);
  let state = null, shown = null, lens = null; // record, when the picture came into view, its magnifier

  const open = () => Boolean(find("form.ask"));
  const done = () => state.order.filter((name) => complete(state.answers[name])).length;
  const finished = () => done() === state.order.length;

  const clock = (running) => { // seconds count while a picture is being looked at, not while the page is hidden
    if (shown !== null && state) {
      const given = state.answers[state.order[state.at]] ??= {};
      given.ms = (given.ms || 0) + performance.now() - shown;
      transport.note(state);
    }
    shown = running ? performance.now() : null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { if (shown !== null) clock(false); } else if (open()) clock(true);
  });
  addEventListener("pagehide", () => { if (shown !== null) clock(false); });

  const show = (html, focus = true) => {
    root.classList.remove("asking");
    stage.innerHTML = html;
    if (!focus) return;
    const title = find("h2");
    title.focus({ preventScroll: true });
    title.scrollIntoView({ block: "start" });
  };
  const lost = () => transport.kept ? "" : '<p class="alert">This browser keeps nothing: do not close the page before you are done.</p>';
  const where = () => transport.place === "server" ? "Your answers are kept on the server of this class." : "Your answers are kept in this browser only.";

  const welcome = (focus) => {
    intro.hidden = false;
    if (state) {
      show(`<h2 tabindex="-1">Welcome back</h2>
        <p>Code ${esc(state.rater)}: ${done()} of ${state.order.length} pictures are answered. ${where()}</p>
        <div class="row"><button type="button" class="main" data-do="go">Go on with picture ${state.at + 1}</button>
        <button type="button" data-do="pause">${transport.place === "server" ? "Show my code" : "Hand in what there is"}</button>${eraser}</div>`, focus);
      return;
    }
    const versions = settings.versions.length < 2 ? "" : `<fieldset><legend>How many pictures?</legend><div class="choice">
      ${settings.versions.map((n, i) => `<label><input type="radio" name="asked" value="${n}" ${i ? "" : "checked"}><span>${n}</span></label>`).join("")}
      </div></fieldset>`;
    show(`<h2 tabindex="-1">Before you start</h2>
      <form data-part="begin" novalidate>${versions}
      <label class="field">${settings.server ? "Code of the room, or your own to go on" : "Your code, if you were given one"}
        <input name="rater" maxlength="32" autocomplete="off" autocapitalize="off" pattern="[A-Za-z0-9_][A-Za-z0-9_\\-]*" aria-describedby="${settings.id}-code"></label>
      <p class="soft" id="${settings.id}-code">${settings.server ? "The room's code stands beside the QR code. No names: you get a code of your own."
        : "Letters, digits, - and _; no names. Without one you get a random code."}</p>
      <label class="field">Years of experience in pathology, if you like
        <input name="experience" type="number" min="0" max="80" step="any" inputmode="decimal"></label>
      ${settings.server ? "" : `<details><summary>Go on with what I began on another device</summary>
        <label class="field">Answer code (it begins with DS2)<textarea name="given" rows="3" autocomplete="off" spellcheck="false"></textarea></label></details>`}
      <p class="alert" role="alert"></p>
      <button class="main">Start</button></form>${lost()}`, focus);
  };
  const eraser = '<button type="button" data-do="erase">Erase my answers</button>';

  const goOn = (record) => { // from an answer code
    state = { ...record, at: 0, saved: now() };
    state.at = Math.max(0, state.order.findIndex((name) => !complete(state.answers[name])));
    transport.note(state);
    if (finished()) result(); else ask();
  };
  const begin = async (form) => {
    const { rater, experience, given } = form.elements, say = (text) => { find(".alert").textContent = text; };
    const wrong = !rater.validity.valid ? [rater, "The code may hold letters, digits, - and _ only, and does not begin with -."]
      : !experience.validity.valid ? [experience, "Years of experience are a number from 0 to 80, or nothing."] : null;
    if (wrong) {
      say(wrong[1]);
      wrong[0].setAttribute("aria-invalid", "true");
      return wrong[0].focus();
    }
    if (given?.value.trim()) {
      try { return goOn(decodeAnswers(settings, given.value)); } catch (error) { say(error.message); return given.focus(); }
    }
    const asked = Number(new FormData(form).get("asked") || settings.versions.at(-1));
    try {
      state = await transport.begin({ rater: rater.value, experience: experience.value === "" ? null : Number(experience.value), asked });
    } catch (error) { return say(error.message); }
    if (finished()) result(); else ask();
  };

  const ask = () => {
    intro.hidden = true;
    const name = state.order[state.at], item = items.get(name), given = state.answers[name] || {}, total = state.order.length;
    const radio = (group, value, text) => `<label><input type="radio" name="${group}" value="${value}"
      ${String(given[group]) === String(value) ? "checked" : ""}><span>${text}</span></label>`;
    const what = `${item.size} field, ${settings.widths[item.size]}`;
    show(`<form class="ask" data-part="ask" novalidate>
      <div class="top"><h2 tabindex="-1">Picture ${state.at + 1} of ${total}</h2>
        <div class="tools"><button type="button" data-do="out" aria-label="Zoom out">&minus;</button><output aria-live="polite">1×</output>
          <button type="button" data-do="in" aria-label="Zoom in">+</button></div>
        <button type="button" data-do="pause">Pause</button>
        <progress max="${total}" value="${state.at}" aria-label="Pictures answered"></progress></div>
      <div class="room"><div class="frame" tabindex="0" role="group" aria-label="The picture; arrow keys move it when it is magnified">
        <img src="${esc(item.src)}" alt="Picture ${state.at + 1}: tissue, ${what}" draggable="false"></div></div>
      <div class="said">
        <fieldset><legend>Real or synthetic?</legend>
          <div class="choice">${radio("answer", "real", "Real")}${radio("answer", "synthetic", "Synthetic")}</div></fieldset>
        <fieldset><legend>How sure are you? <small>1 guessing, 7 certain</small></legend>
          <div class="choice scale">${[1, 2, 3, 4, 5, 6, 7].map((n) => radio("confidence", n, n)).join("")}</div></fieldset>
        <p class="alert" role="alert"></p>
        <div class="row steps"><button type="button" data-do="back" ${state.at ? "" : "disabled"}>Back</button>
          <button class="main">${state.at === total - 1 ? "Finish" : "Next"}</button></div>
        <p class="soft keys">A ${what}. ${transport.kept ? "You can stop and come back." : "This browser keeps nothing: do not close the page."}
          Keys: <kbd>R</kbd> real, <kbd>S</kbd> synthetic, <kbd>1</kbd> to <kbd>7</kbd> how sure, <kbd>Enter</kbd> next,
          <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom.</p>
      </div></form>`);
    root.classList.add("asking");
    lens = magnifier(find(".frame"), (scale) => { find("output").textContent = `${+scale.toFixed(1)}×`; });
    const following = items.get(state.order[state.at + 1]);
    if (following) new Image().src = following.src;
    transport.note(state);
    clock(true);
  };

  const next = async () => {
    const name = state.order[state.at], given = state.answers[name] || {}, button = find(".steps .main");
    if (button.disabled) return;
    if (!complete(given)) {
      const missing = given.answer ? "confidence" : "answer";
      find(".alert").textContent = missing === "answer" ? "Choose real or synthetic." : "Choose how sure you are, 1 to 7.";
      return find(`input[name=${missing}]`).focus();
    }
    clock(false);
    button.disabled = true;
    try { await transport.answer(state, name); } catch (error) {
      button.disabled = false;
      if (error.status === 409) Object.assign(button, { type: "button", textContent: "See the truth" }).dataset.do = "stop"; // the class is over
      else button.textContent = "Try again";
      find(".alert").textContent = error.message;
      if (error.again) setTimeout(() => { if (button.isConnected) next(); }, AGAIN);
      return clock(true);
    }
    const open = state.order.findIndex((other, i) => i > state.at && !complete(state.answers[other]));
    const first = state.order.findIndex((other) => !complete(state.answers[other]));
    if (first < 0) return result();
    state.at = state.at + 1 < state.order.length ? state.at + 1 : open < 0 ? first : open;
    ask();
  };

  const pause = () => {
    if (shown !== null) clock(false);
    intro.hidden = true;
    show(`<h2 tabindex="-1">Pause</h2>
      <p>${done()} of ${state.order.length} pictures are answered. ${where()} ${transport.place === "server" ? "You can go on later." : "You can hand in what there is now, and go on later."}</p>
      <div class="row"><button type="button" class="main" data-do="go">Go on with picture ${state.at + 1}</button></div>
      ${handIn(settings, state, transport)}<div class="row">
      ${transport.place === "browser" && done() ? '<button type="button" data-do="stop">Stop here and see the truth</button>' : ""}${eraser}</div>`);
    showCode();
  };
  const showCode = () => { const canvas = find("canvas.qr"); if (canvas) drawQr(canvas, canvas.dataset.text); };

  const result = async (focus = true) => {
    intro.hidden = false;
    let truth;
    try { truth = await transport.truth(state); } catch (error) {
      return show(`<h2 tabindex="-1">All pictures are answered</h2><p class="alert" role="alert">${esc(error.message)}</p>
        <button type="button" class="main" data-do="again">Try again</button>`, focus);
    }
    stage.rows = rowsOf(settings, state, truth).map((row) => ({ ...row, right: row.truth === row.answer, src: items.get(row.item).src }));
    show(resultPage(settings, state, stage.rows, handIn(settings, state, transport) + `<div class="row">${eraser}</div>`), focus);
    showCode();
    redPen(find("dialog"), stage.rows, settings, (row) => {
      state.taps[row.item] = row.taps;
      find(`[data-item="${row.position}"] .pen`).textContent = row.taps.length ? count(row.taps.length, "mark") : "";
      transport.taps(state, row.item).then(() => sayOfMarks(""), (error) => sayOfMarks(error.message));
    });
  };
  const stop = async () => { // the end, though pictures are left: when the time of a class is up
    try { state = await transport.stop(state); } catch (error) { find(".alert").textContent = error.message; return; }
    shown = null;
    if (done()) return result();
    show(`<h2 tabindex="-1">The class is over</h2><p>None of your answers has arrived, so there is nothing to look at.</p><div class="row">${eraser}</div>`);
  };
  const sure = (button, question) => { // the second click counts
    if (button.dataset.sure) return true;
    button.dataset.sure = "yes";
    button.textContent = question;
    return false;
  };
  const sayOfMarks = (text) => { // a reply may come when the page shows something else
    const place = find("dialog .alert");
    if (place) place.textContent = text;
  };

  const file = (ending) => `survey-${state.survey}-${state.rater}-${state.saved.replace(/:/g, "-")}.${ending}`;
  const rows = () => stage.rows && finished() ? stage.rows.map((row) => ({ ...row, saved: state.saved })) : rowsOf(settings, state, null);
  const actions = {
    go: () => ask(),
    again: () => result(),
    in: () => lens.by(1.5), out: () => lens.by(1 / 1.5),
    back: () => { if (!state.at) return; clock(false); state.at--; ask(); },
    pause: () => pause(),
    stop: (button) => { if (transport.place === "server" || sure(button, "End the survey here?")) stop(); },
    erase: async (button) => {
      if (!sure(button, "Really erase all answers?")) return;
      shown = null;
      try { await transport.forget(state); } catch (error) { button.textContent = error.message; return; }
      state = null;
      stage.rows = null;
      welcome(true);
    },
    copy: async (button) => {
      const code = find("textarea.code");
      try { await navigator.clipboard.writeText(code.value); } catch { code.select(); document.execCommand("copy"); }
      button.textContent = "Copied";
    },
    csv: () => hand(asCsv(rows()), "text/csv", file("csv")),
    json: () => hand(asJson(settings, state, rows()), "application/json", file("json")),
    mistakes: (box) => stage.querySelectorAll("[data-right=true]").forEach((entry) => { entry.hidden = box.checked; }),
  };
  stage.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-item]");
    if (!button) return;
    if (button.dataset.do) return actions[button.dataset.do]?.(button);
    find("dialog").look(Number(button.dataset.item) - 1);
  });
  stage.addEventListener("change", ({ target }) => {
    if (target.type !== "radio" || !open()) return;
    const given = state.answers[state.order[state.at]] ??= {};
    given[target.name] = target.name === "confidence" ? Number(target.value) : target.value;
    find(".alert").textContent = "";
    transport.note(state);
  });
  stage.addEventListener("submit", (event) => {
    if (event.target.method === "dialog") return;
    event.preventDefault();
    if (event.target.dataset.part === "begin") begin(event.target); else next();
  });
  stage.addEventListener("keydown", (event) => { // shortcuts work while the focus is inside the survey, and only there
    if (event.ctrlKey || event.altKey || event.metaKey || !open()) return;
    const key = event.key.toLowerCase(), pick = (name, value) => find(`input[name=${name}][value="${value}"]`).click();
    if (key === "r" || key === "s") pick("answer", key === "r" ? "real" : "synthetic");
    else if (key.length === 1 && "1234567".includes(key)) pick("confidence", key);
    else if (key === "+" || key === "=") lens.by(1.5);
    else if (key === "-") lens.by(1 / 1.5);
    else if (key === "0") lens.whole();
    else if (key === "enter" && event.target.tagName !== "BUTTON") next();
    else return;
    event.preventDefault();
  });
  transport.watch((record) => { // another tab of this browser went on, or erased everything
    if (!record) { if (state) { state = null; stage.rows = null; shown = null; welcome(false); } return; }
    if (!state || state.rater !== record.rater || state.asked !== record.asked) return;
    const here = state.order[state.at], mine = state.answers[here];
    Object.assign(state, { answers: record.answers, taps: record.taps });
    if (open() && mine) state.answers[here] = { ...mine, ...record.answers[here] };
  });

  (async () => {
    state = await transport.recall();
    const given = decodeURIComponent(location.hash.slice(1));
    if (settings.alone && given.startsWith("DS2")) {
      history.replaceState(null, "", location.pathname + location.search);
      if (!state) { try { return goOn(decodeAnswers(settings, given)); } catch { /* of another survey: start as usual */ } }
    }
    if (state && finished()) result(false); else welcome(false);
    if (!state && settings.server && given.startsWith("code=")) find("[name=rater]").value = given.slice(5);
  })();
};

const start = () => {
  const root = document.querySelector(".dl-survey:not([data-started], [data-game])");
  if (!root) return requestAnimationFrame(start); // JupyterLab runs scripts before it shows an output
  root.dataset.started = "";
  survey(root, JSON.parse(root.querySelector("[data-part=settings]").textContent));
};
start();

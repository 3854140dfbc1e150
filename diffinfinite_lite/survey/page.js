// The survey; `page.py` puts this function, called with its settings, into the page.
//
// What is kept in the browser (localStorage): a code, years of experience, the rater's own order of pictures, answers and
// seconds. Nothing is sent anywhere. The truth lies in the page sealed: it is opened when the last answer has been given.
// That keeps raters from seeing it by accident; anybody who reads this code can open it at any time.
(settings) => {
  const SIZES = ["small", "large"], KINDS = ["real", "synthetic"], ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
  const items = new Map(settings.items.map((item, place) => [item.name, { ...item, place }]));
  const total = settings.items.length, key = `diffinfinite-survey-${settings.survey}`;
  const percent = (share) => `${Math.round(100 * share)}%`;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const field = (size) => `${size} field, ${settings.widths[size]}`;

  const wilson = (right, n, z = 1.959963984540054) => {
    const p = right / n, d = 1 + z * z / n, middle = (p + z * z / (2 * n)) / d;
    const reach = z / d * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return [middle - reach, middle + reach];
  };

  // SHA-256 by hand: browsers lend theirs to secure pages only.
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  const FIRST = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p))), ROUND = primes.map((p) => fraction(Math.cbrt(p)));
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  const sha256 = (bytes) => {
    const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64), view = new DataView(padded.buffer);
    padded.set(bytes);
    padded[bytes.length] = 128;
    view.setUint32(padded.length - 4, 8 * bytes.length);
    const hash = [...FIRST], w = new Int32Array(64);
    for (let start = 0; start < padded.length; start += 64) {
      let [a, b, c, d, e, f, g, h] = hash;
      for (let i = 0; i < 64; i++) {
        if (i < 16) w[i] = view.getInt32(start + 4 * i);
        else {
          const x = w[i - 15], y = w[i - 2];
          w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
        }
        const one = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i] + w[i] | 0;
        const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c)) | 0;
        [a, b, c, d, e, f, g, h] = [one + two | 0, a, b, c, d + one | 0, e, f, g];
      }
      [a, b, c, d, e, f, g, h].forEach((value, i) => { hash[i] = hash[i] + value | 0; });
    }
    const result = new Uint8Array(32), out = new DataView(result.buffer);
    hash.forEach((value, i) => out.setInt32(4 * i, value));
    return result;
  };
  const unseal = () => {
    let secret = sha256(new TextEncoder().encode(settings.items.map((item) => item.name).join(",")));
    for (let i = 0; i < settings.rounds; i++) secret = sha256(secret);
    const bytes = Uint8Array.from(atob(settings.sealed), (c) => c.charCodeAt(0));
    for (let start = 0; start < bytes.length; start += 32) {
      const block = new Uint8Array(36);
      block.set(secret);
      new DataView(block.buffer).setUint32(32, start / 32);
      sha256(block).forEach((value, i) => { if (start + i < bytes.length) bytes[start + i] ^= value; });
    }
    return JSON.parse(new TextDecoder().decode(bytes));
  };

  const random = (n) => crypto.getRandomValues(new Uint32Array(1))[0] % n; // the bias is far below one in a million
  const shuffled = (list) => {
    list = [...list];
    for (let i = list.length - 1; i > 0; i--) {
      const j = random(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  };

  const start = () => {
    const root = document.getElementById(settings.id);
    if (!root) return requestAnimationFrame(start); // JupyterLab runs scripts before it shows an output
    const stage = root.querySelector("[data-part=stage]"), intro = root.querySelector("[data-part=intro]");
    const find = (what) => stage.querySelector(what);

    let state = null, kept = true, shown = null;
    const save = () => {
      try { localStorage.setItem(key, JSON.stringify(state)); } catch { kept = false; }
    };
    try { state = JSON.parse(localStorage.getItem(key)); } catch { kept = false; }

    // Seconds count while a picture is being looked at, not while the page is hidden.
    const clock = (running) => {
      if (shown && state && !state.finished) {
        const answer = state.answers[state.order[state.at]] ??= {};
        answer.ms = (answer.ms || 0) + performance.now() - shown;
        save();
      }
      shown = running ? performance.now() : null;
    };
    document.addEventListener("visibilitychange", () => {
      if (shown && document.hidden) clock(false);
      else if (!document.hidden && find("form[data-part=ask]")) clock(true);
    });
    addEventListener("pagehide", () => clock(false));

    const show = (html, focus = true) => {
      stage.innerHTML = html;
      const title = find("h2");
      if (focus) {
        title.focus({ preventScroll: true });
        title.scrollIntoView({ block: "start" });
      }
    };

    const welcome = (focus) => {
      intro.hidden = false;
      if (state) {
        show(`<h2 tabindex="-1">Welcome back</h2>
          <p>${done()} of ${total} pictures are answered. Your answers are kept in this browser only.</p>
          <div class="row"><button type="button" class="main" data-do="go">Go on with picture ${state.at + 1}</button>
          ${eraser()}</div>`, focus);
        return;
      }
      show(`<h2 tabindex="-1">Before you start</h2>
        <form data-part="begin" novalidate>
        <label class="field">Your code, if you were given one
          <input name="rater" maxlength="32" autocomplete="off" pattern="[A-Za-z0-9_\\-]*" aria-describedby="${settings.id}-code"></label>
        <p class="soft" id="${settings.id}-code">Letters, digits, - and _; no names. Without one you get a random code.</p>
        <label class="field">Years of experience in pathology, if you like
          <input name="experience" type="number" min="0" max="80" step="any" inputmode="decimal"></label>
        <p class="alert" role="alert"></p>
        <button class="main">Start with picture 1 of ${total}</button></form>
        ${kept ? "" : '<p class="alert">This browser keeps nothing: do not close the page before you are done.</p>'}`, focus);
    };

    const begin = (form) => {
      const rater = form.elements.rater, years = form.elements.experience;
      const wrong = !rater.validity.valid ? [rater, "The code may hold letters, digits, - and _ only."]
        : !years.validity.valid ? [years, "Years of experience are a number from 0 to 80, or nothing."] : null;
      if (wrong) {
        find(".alert").textContent = wrong[1];
        wrong[0].setAttribute("aria-invalid", "true");
        return wrong[0].focus();
      }
      const code = rater.value || `r${Array.from({ length: 8 }, () => random(16).toString(16)).join("")}`;
      state = { survey: settings.survey, rater: code, experience: years.value === "" ? null : Number(years.value),
                order: shuffled(items.keys()), at: 0, answers: {}, finished: false };
      save();
      ask();
    };

    const complete = (name) => state.answers[name]?.answer && state.answers[name]?.confidence;
    const done = () => state.order.filter(complete).length;
    const eraser = () => '<button type="button" data-do="erase">Erase my answers</button>';

    const ask = () => {
      intro.hidden = true;
      const name = state.order[state.at], item = items.get(name), given = state.answers[name] || {}, last = state.at === total - 1;
      const radio = (group, value, text) => `<label><input type="radio" name="${group}" value="${value}"
        ${String(given[group]) === String(value) ? "checked" : ""}><span>${text}</span></label>`;
      show(`<h2 tabindex="-1">Picture ${state.at + 1} of ${total}</h2>
        <progress max="${total}" value="${state.at}" aria-label="Pictures answered"></progress>
        <div class="ask"><div>
          <div class="frame" tabindex="0" role="group" aria-label="The picture; arrow keys move it when it is magnified">
            <img src="${item.src}" alt="Picture ${state.at + 1}: tissue, ${field(item.size)}" draggable="false"></div>
          <div class="row tools">
            <button type="button" data-do="out" aria-label="Zoom out">&minus;</button><output aria-live="polite">1×</output>
            <button type="button" data-do="in" aria-label="Zoom in">+</button>
            <button type="button" data-do="fit">Fit</button></div>
          </div>
          <form data-part="ask" novalidate>
            <p class="soft">A ${field(item.size)}.</p>
            <fieldset><legend>Is this tissue real or synthetic?</legend>
              <div class="choice">${radio("answer", "real", "Real")}${radio("answer", "synthetic", "Synthetic")}</div></fieldset>
            <fieldset><legend>How sure are you?</legend>
              <div class="choice scale">${[1, 2, 3, 4, 5, 6, 7].map((n) => radio("confidence", n, n)).join("")}</div>
              <div class="ends"><span>1 guessing</span><span>7 certain</span></div></fieldset>
            <p class="alert" role="alert"></p>
            <div class="row"><button type="button" data-do="back" ${state.at ? "" : "disabled"}>Back</button>
              <button class="main">${last ? "Finish and see the answers" : "Next"}</button></div>
            <p class="soft" style="margin-top:1rem">${kept ? "You can stop and come back." : "This browser keeps nothing: do not close the page."}
              <span class="keys">Keys: <kbd>R</kbd> real, <kbd>S</kbd> synthetic, <kbd>1</kbd>–<kbd>7</kbd> how sure, <kbd>Enter</kbd> next,
              <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom.</span></p>
          </form></div>`);
      zoom = 0;
      clock(true);
    };

    let zoom = 0;
    const magnify = (level, x = 0.5, y = 0.5) => { // keeps the point (x, y) of the frame, 0 to 1, where it is
      const frame = find(".frame");
      level = Math.max(0, Math.min(ZOOMS.length - 1, level));
      const ratio = ZOOMS[level] / ZOOMS[zoom], { clientWidth: w, clientHeight: h } = frame;
      const left = (frame.scrollLeft + x * w) * ratio - x * w, top = (frame.scrollTop + y * h) * ratio - y * h;
      zoom = level;
      frame.firstElementChild.style.width = `${100 * ZOOMS[zoom]}%`;
      frame.classList.toggle("near", zoom > 0);
      frame.scrollTo({ left, top, behavior: "instant" });
      find("output").textContent = `${ZOOMS[zoom]}×`;
    };
    const place = (event) => {
      const box = find(".frame").getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };

    const next = () => {
      const name = state.order[state.at], given = state.answers[name] || {};
      if (!complete(name)) {
        const missing = given.answer ? "confidence" : "answer";
        find(".alert").textContent = missing === "answer" ? "Choose real or synthetic." : "Choose how sure you are, 1 to 7.";
        return find(`input[name=${missing}]`).focus();
      }
      clock(false);
      if (state.at < total - 1) state.at++;
      else state.finished = true;
      save();
      if (state.finished) result(); else ask();
    };

    const scored = () => {
      const open = unseal();
      return state.order.map((name, i) => {
        const item = items.get(name), [real, origin] = open.truth[item.place], given = state.answers[name];
        const truth = KINDS[real ? 0 : 1];
        return { ...item, position: i + 1, truth, origin: open.origins[origin], answer: given.answer, right: given.answer === truth,
                 confidence: given.confidence, seconds: Math.round(given.ms / 100) / 10 };
      });
    };

    const sure = (rows) => rows.length ? mean(rows.map((row) => row.confidence)).toFixed(1) : "none";
    const chart = (lines) => { // share of right answers with intervals, chance as a line
      const x = (share) => 20 + 360 * share;
      const marks = lines.map(([name, share, [low, high]], i) => {
        const y = 38 + 46 * i;
        return `<text x="20" y="${y - 16}">${name}</text><path d="M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 6}v12M${x(high)} ${y - 6}v12"
          stroke="currentColor" stroke-width="2"/><circle cx="${x(share)}" cy="${y}" r="6" fill="${i ? "var(--s-page)" : "var(--s-accent)"}"
          stroke="currentColor" stroke-width="2"/>`;
      });
      const ticks = [0, 0.25, 0.5, 0.75, 1].map((t) => `<text x="${x(t)}" y="124" text-anchor="middle">${percent(t)}</text>`);
      const text = lines.map(([name, share, [low, high]]) => `${name}: ${percent(share)}, ${percent(low)} to ${percent(high)}`).join(". ");
      return `<svg viewBox="0 0 400 130" role="img" aria-label="Share of right answers with 95% intervals. ${text}. Guessing: 50%."
        font-family="inherit" font-size="13" fill="currentColor"><path d="M${x(0)} 106H${x(1)}" stroke="currentColor"/>
        <path d="M${x(0.5)} 26V106" stroke="currentColor" stroke-dasharray="4 4"/>${marks.join("")}${ticks.join("")}</svg>`;
    };

    const result = (focus = true) => {
      intro.hidden = false;
      const rows = scored(), right = rows.filter((row) => row.right), paper = settings.paper;
      const [low, high] = wilson(right.length, total), minutes = rows.reduce((sum, row) => sum + row.seconds, 0) / 60;
      const table = SIZES.flatMap((size) => KINDS.map((truth) => {
        const some = rows.filter((row) => row.size === size && row.truth === truth);
        if (!some.length) return "";
        const cells = KINDS.map((kind) => some.filter((row) => row.answer === kind).length);
        return `<tr><th scope="row">${size}, ${truth}</th><td>${cells[0]}</td><td>${cells[1]}</td>
          <td>${percent(cells[KINDS.indexOf(truth)] / some.length)}</td><td>${sure(some)}</td></tr>`;
      })).join("");
      const verdict = right.length > settings.chance[1] ? "more than guessing gives" : right.length < settings.chance[0]
        ? "fewer than guessing gives: you can tell them apart, and call them by the wrong names" : "as many as guessing gives";
      show(`<h2 tabindex="-1">Your result</h2>
        <p class="big"><strong>${right.length} of ${total} right, ${percent(right.length / total)}</strong>
          (95% interval ${percent(low)} to ${percent(high)}).</p>
        <p>That is ${verdict}: ${settings.chance[0]} to ${settings.chance[1]} of ${total}, in 95 of 100 people who toss a coin.</p>
        ${chart([["You", right.length / total, [low, high]], [`${paper.raters} pathologists`, paper.accuracy, [paper.low, paper.high]]])}
        <p class="soft">Share of right answers with its 95% interval; dashed: guessing. The pathologists' interval takes all their answers as independent.</p>
        <h3>Beside the paper's ten pathologists</h3>
        <div class="wide" tabindex="0" role="group" aria-label="You and the paper"><table>
          <thead><tr><td></td><th scope="col">You</th><th scope="col">Ten pathologists</th></tr></thead>
          <tbody><tr><th scope="row">right answers</th><td>${percent(right.length / total)} of ${total}</td>
            <td>${percent(paper.accuracy)} of ${paper.raters} × ${paper.items}</td></tr>
          <tr><th scope="row">mean confidence, 1 to 7</th><td>${mean(rows.map((row) => row.confidence)).toFixed(2)}</td>
            <td>${paper.confidence}</td></tr>
          <tr><th scope="row">experience</th><td>${state.experience === null ? "not given" : `${state.experience} years`}</td>
            <td>${paper.years} years on average</td></tr>
          <tr><th scope="row">time</th><td>${minutes.toFixed(1)} minutes</td><td>not reported</td></tr></tbody></table></div>
        <p class="soft">They saw other pictures, of 512 and 2048 px, from the authors' full-size model. A small model is easier to catch.</p>
        <h3>By size and truth</h3>
        <div class="wide" tabindex="0" role="group" aria-label="By size and truth"><table>
          <thead><tr><th scope="col">pictures</th><th scope="col">you said real</th><th scope="col">you said synthetic</th>
            <th scope="col">right</th><th scope="col">sure</th></tr></thead><tbody>${table}</tbody></table></div>
        <p>Your mean confidence was ${sure(right)} where you were right and ${sure(rows.filter((row) => !row.right))} where you were wrong.</p>
        <h3>Keep or hand in</h3>
        <p>Nothing has left this browser. A file holds your code, experience, answers and seconds.</p>
        <div class="row"><button type="button" class="main" data-do="csv">Save as CSV</button>
          <button type="button" class="main" data-do="json">Save as JSON</button>${eraser()}</div>
        <h3>All pictures</h3>
        <label class="row"><input type="checkbox" data-do="mistakes"> Only those I got wrong</label>
        <ul class="all">${rows.map((row) => `<li data-right="${row.right}"><button type="button" data-item="${row.position}">
          <img src="${row.src}" loading="lazy" alt="Picture ${row.position}, ${row.size}"><span class="${row.right ? "right" : "wrong"}">
          ${row.right ? "✓ right" : "✗ wrong"}</span><br>${row.truth}; you: ${row.answer}, ${row.confidence}</button></li>`).join("")}</ul>
        <dialog aria-label="One picture"><img alt=""><p></p><form method="dialog"><button class="main">Close</button></form></dialog>`, focus);
      stage.rows = rows;
    };

    const hand = (text, type, ending) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type }));
      link.download = `survey-${state.survey}-${state.rater}.${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    };
    const columns = ["item", "size", "truth", "answer", "confidence", "seconds", "position"];
    const record = (row) => ({ ...row, item: row.name });
    const actions = {
      go: () => ask(),
      in: () => magnify(zoom + 1), out: () => magnify(zoom - 1), fit: () => magnify(0),
      back: () => { if (!state.at) return; clock(false); state.at--; save(); ask(); },
      erase: (button) => {
        if (button.dataset.sure) {
          state = null; shown = null;
          try { localStorage.removeItem(key); } catch { kept = false; }
          return welcome(true);
        }
        button.dataset.sure = "yes";
        button.textContent = "Really erase all answers?";
      },
      csv: () => hand([["survey", "rater", "experience", ...columns].join(","), ...stage.rows.map(record).map((row) =>
        [state.survey, state.rater, state.experience ?? "", ...columns.map((name) => row[name])].join(","))].join("\n") + "\n", "text/csv", "csv"),
      json: () => hand(JSON.stringify({ format: settings.format, survey: state.survey, rater: state.rater, experience: state.experience,
        answers: stage.rows.map(record).map((row) => Object.fromEntries(columns.map((name) => [name, row[name]]))) }, null, 1) + "\n",
        "application/json", "json"),
      mistakes: (box) => stage.querySelectorAll("[data-right=true]").forEach((entry) => { entry.hidden = box.checked; }),
    };
    stage.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do], [data-item]");
      if (!button) return;
      if (button.dataset.do) return actions[button.dataset.do](button);
      const row = stage.rows[button.dataset.item - 1], dialog = find("dialog");
      Object.assign(dialog.querySelector("img"), { src: row.src, alt: `Picture ${row.position}, ${row.size}, ${row.truth}` });
      dialog.querySelector("p").textContent = `Picture ${row.position}, ${field(row.size)}: ${row.truth}, from ${row.origin}. `
        + `You said ${row.answer}, confidence ${row.confidence}, after ${row.seconds} seconds.`;
      dialog.showModal();
    });
    stage.addEventListener("change", ({ target }) => {
      if (target.type !== "radio") return;
      const given = state.answers[state.order[state.at]] ??= {};
      given[target.name] = target.name === "confidence" ? Number(target.value) : target.value;
      find(".alert").textContent = "";
      save();
    });
    stage.addEventListener("submit", (event) => {
      if (event.target.method === "dialog") return;
      event.preventDefault();
      if (event.target.dataset.part === "begin") begin(event.target); else next();
    });
    stage.addEventListener("keydown", (event) => { // shortcuts work while the focus is inside the survey, and only there
      if (event.ctrlKey || event.altKey || event.metaKey || !find("form[data-part=ask]")) return;
      const key = event.key.toLowerCase(), pick = (name, value) => find(`input[name=${name}][value="${value}"]`).click();
      if (key === "r" || key === "s") pick("answer", key === "r" ? "real" : "synthetic");
      else if ("1234567".includes(key)) pick("confidence", key);
      else if (key === "+" || key === "=") magnify(zoom + 1);
      else if (key === "-") magnify(zoom - 1);
      else if (key === "0") magnify(0);
      else if (key === "enter" && event.target.tagName !== "BUTTON") next();
      else return;
      event.preventDefault();
    });
    stage.addEventListener("dblclick", (event) => {
      if (event.target.closest(".frame")) magnify(zoom ? 0 : 3, ...place(event));
    });
    stage.addEventListener("wheel", (event) => { // pinching on a touchpad arrives as this, too
      if (!event.ctrlKey || !event.target.closest(".frame")) return;
      event.preventDefault();
      magnify(zoom + (event.deltaY < 0 ? 1 : -1), ...place(event));
    }, { passive: false });
    stage.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || event.buttons !== 1 || !event.target.closest(".frame")) return;
      find(".frame").scrollBy({ left: -event.movementX, top: -event.movementY, behavior: "instant" });
    });

    if (state?.finished) result(false); else welcome(false);
  };
  start();
}

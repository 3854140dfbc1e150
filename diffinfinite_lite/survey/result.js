// After the last answer: the result beside the paper's ten pathologists, what to hand in, and the red pen, with which each
// picture can be marked where it gave itself away.

const handIn = (settings, record, transport) => {
  const address = location.protocol.startsWith("http") && settings.alone ? location.href.split("#")[0] : "";
  const code = transport.place === "server" ? record.code : encodeAnswers(settings, record);
  const text = transport.place === "server" ? `${address}#code=${code}` : address ? `${address}#${code}` : code;
  const said = transport.place === "server"
    ? "Your answers are on the server already. With this code you can go on, on this device or another."
    : `Nothing has left this browser. A file holds your code, experience, answers, seconds and marks. The answer code is the same
       in short, without marks, and lets you go on with another device that has this page.`;
  const picture = settings.qr ? `<figure><canvas class="qr" role="img" aria-label="QR code of the ${transport.place === "server" ? "page with your code" : "answer code"}"
    data-text="${esc(text)}"></canvas></figure>` : "";
  return `<section class="hand"><h3>${transport.place === "server" ? "Your code" : "Hand in"}</h3><p>${said}</p>
    ${transport.place === "server" ? "" : '<div class="row"><button type="button" data-do="csv">Save as CSV</button><button type="button" data-do="json">Save as JSON</button></div>'}
    <label class="field">${transport.place === "server" ? "To go on, or to see this again" : "Answer code"}
      <textarea class="code" rows="${transport.place === "server" ? 1 : 4}" readonly spellcheck="false">${esc(code)}</textarea></label>
    <button type="button" data-do="copy">Copy the code</button>${picture}</section>`;
};

const resultPage = (settings, state, rows, handed) => {
  const total = rows.length, right = rows.filter((row) => row.right), paper = settings.paper, chance = byGuessing(total);
  const [low, high] = wilson(right.length, total), minutes = rows.reduce((sum, row) => sum + row.seconds, 0) / 60;
  const sure = (some) => some.length ? mean(some.map((row) => row.confidence)).toFixed(1) : "none";
  const line = (name, some) => {
    const [real, synthetic] = KINDS.map((kind) => some.filter((row) => row.answer === kind).length);
    return [name, real, synthetic, percent(some.filter((row) => row.right).length / some.length), sure(some)];
  };
  const groups = SIZES.flatMap((size) => KINDS.map((truth) => [`${size}, ${truth}`, rows.filter((row) => row.size === size && row.truth === truth)]));
  const made = [...new Set(rows.filter((row) => row.truth === "synthetic").map((row) => row.origin))].sort()
    .map((origin) => [`by ${esc(origin)}`, rows.filter((row) => row.origin === origin && row.truth === "synthetic")]);
  const verdict = right.length > chance[1] ? "more than guessing gives" : right.length < chance[0]
    ? "fewer than guessing gives: you can tell them apart, and call them by the wrong names" : "as many as guessing gives";
  const heads = ["pictures", "you said real", "you said synthetic", "right", "sure"];
  const short = total < state.asked ? `<p class="soft">Of ${state.asked} pictures; the others have no answer.</p>` : "";
  return `<h2 tabindex="-1">Your result</h2>${short}
    <p class="big"><strong>${right.length} of ${total} right, ${percent(right.length / total)}</strong>
      (95% interval ${percent(low)} to ${percent(high)}).</p>
    <p>That is ${verdict}: ${chance[0]} to ${chance[1]} of ${total}, in 95 of 100 people who toss a coin.</p>
    ${chart([["You", right.length / total, [low, high]], [`${paper.raters} pathologists`, paper.accuracy, [paper.low, paper.high]]])}
    <p class="soft">Share of right answers with its 95% interval; dashed: guessing. The pathologists' interval takes all their answers as independent.</p>
    <h3>The red pen</h3>
    <p>Open a picture and tap where it gave itself away, or where it fooled you. ${settings.server ? "Your marks are kept with your answers." : "Your marks are part of the file you hand in."}</p>
    <label class="row"><input type="checkbox" data-do="mistakes"> Only those I got wrong</label>
    <ul class="all">${rows.map((row) => `<li data-right="${row.right}"><button type="button" data-item="${row.position}">
      <img src="${esc(row.src)}" loading="lazy" alt="Picture ${row.position}, ${row.size}"><span class="${row.right ? "right" : "wrong"}">
      ${row.right ? "✓ right" : "✗ wrong"}</span><br>${row.truth}; you: ${row.answer}, ${row.confidence} <span class="pen">${row.taps.length ? count(row.taps.length, "mark") : ""}</span></button></li>`).join("")}</ul>
    ${handed}
    <h3>Beside the paper's ten pathologists</h3>
    ${dataTable("You and the paper", ["", "You", "Ten pathologists"], [
      ["right answers", `${percent(right.length / total)} of ${total}`, `${percent(paper.accuracy)} of ${paper.raters} × ${paper.items}`],
      ["mean confidence, 1 to 7", mean(rows.map((row) => row.confidence)).toFixed(2), paper.confidence],
      ["experience", state.experience === null ? "not given" : `${state.experience} years`, `${paper.years} years on average`],
      ["time", `${minutes.toFixed(1)} minutes`, "not reported"]])}
    <p class="soft">They saw other pictures, of 512 and 2048 px, from the authors' full-size model. A small model is easier to catch.</p>
    <h3>By size and truth, and by model</h3>
    ${dataTable("By size and truth, and by model", heads, [...groups, ...made].filter(([, some]) => some.length).map(([name, some]) => line(name, some)))}
    <p>Your mean confidence was ${sure(right)} where you were right and ${sure(rows.filter((row) => !row.right))} where you were wrong.</p>
    <dialog aria-label="One picture"><div class="marked" tabindex="0" role="application" aria-label="Picture; arrow keys move the cross, Enter sets a mark">
      <img alt="" draggable="false"><svg viewBox="0 0 1000 1000" aria-hidden="true"></svg></div>
      <p class="about" aria-live="polite"></p><p class="alert" role="alert"></p>
      <div class="row"><button type="button" data-pen="before" aria-label="Picture before">←</button><button type="button" data-pen="after" aria-label="Picture after">→</button>
      <button type="button" data-pen="undo">Undo mark</button></div>
      <form method="dialog"><button class="main">Close</button></form></dialog>`;
};

// The dialog of one picture. `dialog.look(i)` opens it; a tap sets a mark, a tap on a mark takes it away.
const redPen = (dialog, rows, settings, changed) => {
  const part = (what) => dialog.querySelector(what), NEAR = 0.03;
  let at = 0, cross = null; // the picture shown; the keyboard's cross, or none
  const draw = () => {
    const row = rows[at];
    part("svg").innerHTML = row.taps.map(([x, y]) => `<circle cx="${1000 * x}" cy="${1000 * y}" r="28"/>`).join("")
      + (cross ? `<path d="M${1000 * cross[0] - 40} ${1000 * cross[1]}h80m-40-40v80"/>` : "");
    part(".about").textContent = `Picture ${row.position}, ${row.size}, ${settings.widths[row.size]}: ${row.truth}, from ${row.origin}. `
      + `You said ${row.answer}, confidence ${row.confidence}, after ${row.seconds} seconds. ${count(row.taps.length, "mark")}.`;
    part("[data-pen=undo]").disabled = !row.taps.length;
  };
  const mark = (x, y) => {
    const row = rows[at], near = row.taps.findIndex(([a, b]) => Math.hypot(a - x, b - y) < NEAR);
    row.taps = near < 0 ? [...row.taps, [+x.toFixed(3), +y.toFixed(3)]] : row.taps.filter((_, i) => i !== near);
    draw();
    changed(row);
  };
  dialog.look = (i) => {
    [at, cross] = [(i + rows.length) % rows.length, null];
    Object.assign(part("img"), { src: rows[at].src, alt: `Picture ${rows[at].position}, ${rows[at].size}, ${rows[at].truth}` });
    draw();
    if (!dialog.open) dialog.showModal();
  };
  part(".marked").addEventListener("click", (event) => {
    const box = part("img").getBoundingClientRect();
    mark(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)), Math.min(1, Math.max(0, (event.clientY - box.top) / box.height)));
  });
  part(".marked").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter" || event.key === " ") mark(...(cross || [0.5, 0.5]));
    else if (step) {
      cross = (cross || [0.5, 0.5]).map((value, i) => Math.min(1, Math.max(0, value + 0.04 * step[i])));
      draw();
    } else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => {
    const what = event.target.closest("[data-pen]")?.dataset.pen;
    if (what === "before" || what === "after") dialog.look(at + (what === "after" ? 1 : -1));
    else if (what === "undo") {
      rows[at].taps = rows[at].taps.slice(0, -1);
      draw();
      changed(rows[at]);
    }
  });
};

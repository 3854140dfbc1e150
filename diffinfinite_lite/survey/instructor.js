// The instructor's page: asks the service for figures every two seconds, and draws them. `instructor.py` is the other side.
//
// The token of the address (behind "#", which browsers do not send) is changed for the key of a session. The key stays in
// this tab, and goes with each request in a header, so that no other page can use it.
"use strict";

const KEY = "diffinfinite-instructor", EVERY = 2000; // ms
const find = (what, root = document) => root.querySelector(what);
const all = (what, root = document) => [...root.querySelectorAll(what)];
const percent = (share) => `${Math.round(100 * share)}%`;
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const esc = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const interval = (row) => `95% interval ${percent(row.low)} to ${percent(row.high)}`;

let key = sessionStorage.getItem(KEY), view = "room", shown = "", survey = "", summary = null;

const post = async (what, body = {}) => {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  let reply;
  try {
    reply = await fetch(`/api/instructor/${what}`, { method: "POST", headers, cache: "no-store", body: JSON.stringify(body) });
  } catch { throw new Error("The service cannot be reached; trying again."); }
  if (reply.ok) return reply;
  const said = await reply.json().catch(() => ({}));
  if (reply.status === 401) leave();
  throw new Error(said.message || "The service did not answer; trying again.");
};

const say = (text, bad = false) => {
  const state = find(".state");
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("bad", bad);
};

// Charts: shares from 0 to 100% along x, chance as a dashed line.
const axis = (x, top, bottom) => `<path class="chance" d="M${x(0.5)} ${top}V${bottom}"/><path class="axis" d="M${x(0)} ${bottom}H${x(1)}"/>`
  + [0, 0.25, 0.5, 0.75, 1].map((t) => `<text x="${x(t)}" y="${bottom + 18}" text-anchor="middle">${percent(t)}</text>`).join("");
const mark = (x, y, row, kind) => `<path class="bar" d="M${x(row.low)} ${y}H${x(row.high)}M${x(row.low)} ${y - 6}v12M${x(row.high)} ${y - 6}v12"/>
  <circle class="${kind}" cx="${x(row.accuracy)}" cy="${y}" r="7"/>`;
const svg = (height, label, inside) => `<svg viewBox="0 0 420 ${height}" role="img" aria-label="${esc(label)}">${inside}</svg>`;

const classChart = (figures, paper) => {
  const x = (share) => 20 + 380 * share, each = figures.raters, columns = new Map();
  const dots = each.map((row) => { // equal shares are stacked
    const place = Math.round(38 * row.accuracy), high = columns.get(place) || 0;
    columns.set(place, high + 1);
    return `<circle class="one" cx="${x(row.accuracy)}" cy="${72 - Math.min(high, 5) * 7}" r="5"/>`;
  });
  const label = `Right answers. Class: ${percent(figures.accuracy.accuracy)}, ${interval(figures.accuracy)}. `
    + `${paper.raters} pathologists of the paper: ${percent(paper.accuracy)}. Guessing: 50%. `
    + `Single participants: ${each.map((row) => percent(row.accuracy)).join(", ")}.`;
  return svg(190, label, `<text x="20" y="22">each participant</text>${dots.join("")}
    <text x="20" y="98">the class</text>${mark(x, 112, figures.accuracy, "dot")}
    <text x="20" y="138">${paper.raters} pathologists (paper)</text>${mark(x, 150, paper, "other")}${axis(x, 30, 166)}`);
};

const calibrationChart = (rows) => {
  const x = (level) => 76 + 54 * (level - 1), y = (share) => 190 - 170 * share;
  const marks = rows.map((row) => `<path class="bar" d="M${x(row.confidence)} ${y(row.low)}V${y(row.high)}"/>
    <circle class="dot" cx="${x(row.confidence)}" cy="${y(row.accuracy)}" r="7"/>
    <text x="${x(row.confidence)}" y="228" text-anchor="middle">${row.n}</text>`);
  const levels = [1, 2, 3, 4, 5, 6, 7].map((n) => `<text x="${x(n)}" y="208" text-anchor="middle">${n}</text>`);
  const shares = [0, 0.5, 1].map((t) => `<text x="44" y="${y(t) + 5}" text-anchor="end">${percent(t)}</text>`);
  const label = `Share of right answers by confidence. ${rows.map((row) => `${row.confidence}: ${percent(row.accuracy)} of ${row.n}`).join(", ")}.`;
  return svg(236, label, `<path class="axis" d="M52 20V190H418"/><path class="chance" d="M52 ${y(0.5)}H418"/>
    ${marks.join("")}${levels.join("")}${shares.join("")}<text x="44" y="208" text-anchor="end">sure</text>
    <text x="44" y="228" text-anchor="end">n</text>`);
};

const table = (label, heads, rows) => `<div class="wide" tabindex="0" role="group" aria-label="${label}"><table><thead><tr>
  ${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead><tbody>${rows.map(([name, ...cells]) =>
  `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("")}</tbody></table></div>`;

const agreement = ({ kappa, why }) => kappa === null ? `Agreement (Fleiss' kappa): ${esc(why)}.`
  : `Agreement between participants: Fleiss' kappa ${kappa.toFixed(2)} (0 is chance, 1 full agreement).`;

const pictureCard = (row) => `<li><div class="picture"><img src="/picture/${esc(row.picture)}.jpg" alt="${esc(row.size)} picture, ${esc(row.truth)}">
  ${row.taps.length ? `<canvas width="208" height="208" data-taps="${esc(JSON.stringify(row.taps))}"></canvas>` : ""}</div>
  <p><b>${esc(row.truth)}</b>: ${row.correct} of ${row.n} right</p>
  <p class="soft">${esc(row.origin)}${row.taps.length ? `; ${count(row.taps.length, "red-pen mark")}` : ""}</p></li>`;

const heat = (canvas) => { // each mark is a soft red spot; where several agree it is darker
  const pen = canvas.getContext("2d"), side = canvas.width;
  for (const [x, y] of JSON.parse(canvas.dataset.taps)) {
    const spot = pen.createRadialGradient(x * side, y * side, 0, x * side, y * side, 18);
    spot.addColorStop(0, "rgb(214 0 0 / .55)");
    spot.addColorStop(1, "rgb(214 0 0 / 0)");
    pen.fillStyle = spot;
    pen.fillRect(0, 0, side, side);
  }
};

const drawFigures = ({ figures, paper }) => {
  const place = find(".figures");
  if (!figures) { place.innerHTML = "<p>No answer yet.</p>"; return; }
  const total = figures.accuracy, marked = figures.pictures.some((row) => row.taps.length);
  place.innerHTML = `<div class="whole"><p class="big"><strong>${percent(total.accuracy)} right</strong> (${interval(total)}):
      ${total.correct} of ${total.n} answers of ${count(figures.raters.length, "participant")}.</p>
    <p class="soft">The interval takes all answers as independent, so it is too narrow. The paper's pathologists saw other pictures.</p></div>
    <div><h2>Right answers</h2>${classChart(figures, paper)}<p>${agreement(figures.agreement)}</p></div>
    <div><h2>Confidence</h2>${calibrationChart(figures.calibration)}<p class="soft">Share of right answers by confidence, 1 guessing to
      7 certain, with 95% intervals; n answers. Mean ${figures.confidence.toFixed(2)}; the pathologists' was ${paper.confidence}.</p></div>
    <div class="whole"><h2>By size and truth, and by model</h2>${table("By size and truth, and by model", ["pictures", "said real", "said synthetic", "right"],
      figures.confusion.map((row) => [`${row.size}, ${row.truth}`, row.real, row.synthetic, `${percent(row[row.truth] / (row.real + row.synthetic))} of ${row.real + row.synthetic}`])
      .concat(figures.models.map((row) => [`by ${esc(row.origin)}`, row.n - row.correct, row.correct, `${percent(row.accuracy)} of ${row.n}`])))}</div>
    <div class="whole"><h2>The hardest pictures${marked ? ", and what the red pen marked" : ""}</h2>
      <ul class="hardest">${figures.pictures.map(pictureCard).join("")}</ul></div>`;
  all("canvas[data-taps]", place).forEach(heat);
};

const drawRoom = ({ progress, total }) => {
  const done = progress.filter((row) => row.finished).length, given = progress.reduce((sum, row) => sum + row.answered, 0);
  find(".counts").textContent = progress.length ? `${count(progress.length, "participant")}, ${done} finished, ${count(given, "answer")}.` : "Nobody yet.";
  find(".progress").innerHTML = progress.map((row) => `<li><b>${esc(row.rater)}</b>
    <span class="${row.finished ? "done" : ""}">${row.finished ? "✓ done" : `${row.answered} of ${row.asked}`}</span>
    <progress max="${row.asked}" value="${row.answered}" aria-label="${esc(row.rater)}"></progress></li>`).join("");
};

const draw = () => {
  const now = JSON.stringify(summary);
  if (now === shown) return; // so that nobody loses the place they are reading
  shown = now;
  drawRoom(summary);
  drawFigures(summary);
  all(".spoiler, [data-do=reveal]").forEach((part) => { part.hidden = summary.closed; });
  find("[data-do=projector]").hidden = !summary.closed;
};

const go = (name) => {
  view = name;
  all("main > section").forEach((section) => { section.hidden = section.dataset.name !== name; });
  all("nav button").forEach((button) => {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  });
  find("nav").hidden = name === "door";
};

const invite = async () => {
  const { url, room, qr, survey: name } = await (await post("invitation")).json();
  survey = name;
  find(".qr").src = qr;
  find(".address").textContent = url.replace(/^http:\/\//, "").replace(/\/$/, "");
  find(".code").textContent = room;
};

const refresh = async () => {
  if (!key || document.hidden) return;
  try {
    summary = await (await post("summary")).json();
    draw();
    say(summary.closed ? "The class is over." : "Live");
  } catch (error) { say(error.message, true); }
};

const leave = () => {
  key = null;
  sessionStorage.removeItem(KEY);
  document.body.classList.remove("projector");
  go("door");
};

const enter = async (token) => {
  try {
    key = (await (await post("login", { token })).json()).key;
    sessionStorage.setItem(KEY, key);
    find("[data-name=door] .alert").textContent = "";
    await open();
  } catch (error) { find("[data-name=door] .alert").textContent = error.message; }
};

const open = async () => {
  try { await invite(); } catch (error) { if (key) say(error.message, true); return; }
  go("room");
  await refresh();
};

const save = async (ending) => {
  const blob = await (await post(ending)).blob(), link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `class-${survey}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

const sure = (button, question) => { // the first click asks, a second one within five seconds does it
  if (button.dataset.sure) return true;
  const said = button.textContent;
  button.dataset.sure = "yes";
  button.textContent = question;
  setTimeout(() => { delete button.dataset.sure; button.textContent = said; }, 5000);
  return false;
};

const projector = (on) => document.body.classList.toggle("projector", on);
const actions = {
  csv: () => save("csv"),
  json: () => save("json"),
  token: async () => {
    const { token } = await (await post("token")).json();
    find(".link").textContent = `${location.origin}/instructor#${token}`;
  },
  reveal: async (button) => {
    if (!sure(button, "End the class and show the truth?")) return;
    summary = await (await post("reveal")).json();
    draw();
    projector(true);
  },
  projector: () => projector(true),
  leave: () => projector(false),
  erase: async (button) => {
    if (!sure(button, "Really delete everything?")) return;
    summary = await (await post("erase")).json();
    await invite();
    draw();
    go("room");
  },
};

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.view) go(button.dataset.view);
  if (!button?.dataset.do) return;
  try { await actions[button.dataset.do](button); } catch (error) { say(error.message, true); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") projector(false); });
document.addEventListener("visibilitychange", refresh);
find("[data-name=door] form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(event.target.elements.token.value.trim());
});

const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", location.pathname); // a used token need not stay in the address
  enter(token);
} else if (key) open();
setInterval(refresh, EVERY);

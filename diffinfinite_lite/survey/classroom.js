// A class: reads what raters handed in (files, answer codes), says what it left out, and shows the result. The rules of
// reading are those of `answers.py`, which has the reasons. Nothing leaves the page and nothing is kept.
//
// `classResult(settings, rows)` is HTML and needs rows alone, as of `rowsOf`; `drawMarks` paints the red pen's marks into it.

const number = (value) => {
  const text = String(value ?? "").trim().replace(",", ".");
  return text === "" || typeof value === "boolean" || !Number.isFinite(Number(text)) ? null : Number(text);
};
const moment = (text) => { // when a file was saved, in a form that sorts; "" where that is not known
  const clock = "(\\d\\d?):(\\d\\d)(?::(\\d\\d))?", iso = new RegExp(`^(\\d{4})-(\\d\\d?)-(\\d\\d?)[T ]+${clock}`).exec(text);
  const dayFirst = new RegExp(`^(\\d\\d?)\\.(\\d\\d?)\\.(\\d{4}),? +${clock}`).exec(text);
  const parts = iso ? iso.slice(1) : dayFirst ? [...dayFirst.slice(1, 4).reverse(), ...dayFirst.slice(4)] : [];
  return parts.map((part) => String(part ?? 0).padStart(2, "0")).join("-");
};
const marks = (value) => (Array.isArray(value) ? value : String(value ?? "").split(/\s+/).map((part) => part.split(":")))
  .filter((pair) => Array.isArray(pair) && pair.length === 2).map((pair) => pair.map(number))
  .filter((pair) => pair.every((x) => x !== null && x >= 0 && x <= 1));

const textOf = (bytes) => {
  const wide = bytes[0] === 255 && bytes[1] === 254 ? "utf-16le" : bytes[0] === 254 && bytes[1] === 255 ? "utf-16be" : null;
  if (wide) return new TextDecoder(wide).decode(bytes);
  try { return new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { return new TextDecoder("windows-1252").decode(bytes); }
};

const readCsv = (text) => {
  text = text.replace(/\0/g, "").replace(/^sep=[^\r\n]*[\r\n]*/i, "");
  const head = text.split(/[\r\n]/).find((line) => line.trim()) || "", parts = (c) => head.split(c).length;
  const separator = [",", ";", "\t"].reduce((best, c) => parts(c) > parts(best) ? c : best);
  const rows = [[]];
  let cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { cell += c; i++; } else if (c === '"') quoted = false; else cell += c;
    } else if (c === '"' && !cell) quoted = true;
    else if (c === separator) { rows.at(-1).push(cell); cell = ""; }
    else if (c === "\n" || c === "\r") { rows.at(-1).push(cell); cell = ""; rows.push([]); }
    else cell += c;
  }
  rows.at(-1).push(cell);
  const table = rows.filter((row) => row.some((one) => one.trim()));
  const names = (table[0] || []).map((name) => name.trim().replace(/^'|'$/g, "").toLowerCase());
  const missing = ["survey", "rater", "item", "answer", "confidence"].find((name) => !names.includes(name));
  if (missing) throw new Error(`no column ${missing}`);
  return table.slice(1).map((row) => Object.fromEntries(names.map((name, i) => [name, (row[i] ?? "").trim().replace(/(^|[;\t\r\n])'(?=[=+\-@])/g, "$1")])));
};
const readJson = (text) => {
  const whole = JSON.parse(text);
  return (Array.isArray(whole) ? whole : [whole]).flatMap((one) => {
    const found = /^diffinfinite-survey-(\d+)$/.exec(one?.format);
    if (!found) throw new Error('no "format": "diffinfinite-survey-2"');
    if (Number(found[1]) > 2) throw new Error(`${found[0]} is newer than this page`);
    if (!Array.isArray(one.answers) || !one.answers.every((row) => row && typeof row === "object")) throw new Error('no list of "answers"');
    const shared = Object.fromEntries(COLUMNS.slice(0, 5).map((name) => [name, one[name]]));
    return one.answers.map((row) => ({ ...shared, ...row }));
  });
};
const readCodes = (settings, text, say) => {
  const codes = text.match(/\bDS2(?:[ \t]*-[ \t\r\n]*[0-9A-Za-z]+)+/gi) || [];
  if (!codes.length) say("left out, it has no answer code");
  return codes.flatMap((code) => {
    try {
      const record = decodeAnswers(settings, code);
      return rowsOf(settings, record, null).map((row) => ({ ...row, saved: "" }));
    } catch (error) { say(`answer code ${code.slice(0, 14)}... left out: ${error.message}`); return []; }
  });
};

const readHanded = (settings, name, text, say) => { // rows with clean types; `say` takes what was left out
  let rows;
  if (/\.(xlsx|xls|ods|numbers)$/i.test(name)) {
    say("left out, it is a spreadsheet's own format: save it as CSV");
    return [];
  }
  try {
    const begin = text.trimStart();
    rows = /\.txt$/i.test(name) || /^DS2/i.test(begin) ? readCodes(settings, text, say)
      : /\.json$/i.test(name) || "{[".includes(begin[0] || " ") ? readJson(text) : readCsv(text);
    if (!rows.length) say("left out, it has no answer");
  } catch (error) {
    say(`left out, expected a file exported by the survey page: ${error.message}`);
    return [];
  }
  const last = new Map(), bad = new Map(), torn = [];
  let odd = false; // years of experience that are none
  rows.forEach((row, i) => {
    const text = (what) => String(row[what] ?? "").trim(), answer = text("answer").toLowerCase(), confidence = number(row.confidence);
    const reason = ["survey", "rater", "item"].map((what) => text(what) ? "" : `some letters as ${what}, got none`).find(Boolean)
      || (KINDS.includes(answer) ? "" : `answer of real or synthetic, got ${answer.slice(0, 40)}`)
      || [["size", SIZES], ["truth", KINDS]].map(([what, allowed]) => ["", ...allowed].includes(text(what).toLowerCase()) ? ""
        : `${what} of ${allowed.join(" or ")}, got ${text(what).toLowerCase().slice(0, 40)}`).find(Boolean)
      || (Number.isInteger(confidence) && confidence >= 1 && confidence <= 7 ? "" : `confidence of 1 to 7, got ${text("confidence").slice(0, 40) || "none"}`);
    if (reason) return bad.set(reason, [...(bad.get(reason) || []), i + 1]);
    const years = number(row.experience), seconds = number(row.seconds), asked = number(row.asked);
    const who = `${text("survey")}\n${text("rater")}\n${text("item")}`, known = years !== null && years >= 0 && years <= 80;
    odd ||= !known && text("experience") !== "";
    if (last.has(who) && last.get(who).answer !== answer) torn.push(`rater ${text("rater")} answered picture ${text("item")} twice: the last answer counts`);
    last.delete(who);
    last.set(who, { survey: text("survey"), rater: text("rater"), item: text("item"),
      truth: text("truth").toLowerCase(), answer, confidence, saved: text("saved"), asked: asked >= 1 ? asked : null,
      experience: known ? years : null, seconds: seconds !== null && seconds >= 0 ? seconds : null,
      position: number(row.position) || 0, taps: marks(row.taps), file: name });
  });
  bad.forEach((numbers, reason) => say(`row ${numbers.slice(0, 5).join(", ")}${numbers.length > 5 ? ", ..." : ""} left out: expected ${reason}`));
  if (odd) say("years of experience left out: expected a number from 0 to 80, or nothing");
  torn.slice(0, 3).forEach(say);
  return [...last.values()];
};

const withTruth = (settings, open, rows, note) => {
  const items = new Map(settings.items.map((item, place) => [item.name, { ...item, place }])), foreign = new Map(), wrong = new Set();
  const good = rows.flatMap((row) => {
    const item = row.survey === settings.survey && items.get(row.item);
    if (!item) { foreign.set(row.file, (foreign.get(row.file) || 0) + 1); return []; }
    const [real, origin] = open.truth[item.place], truth = KINDS[real ? 0 : 1];
    if (row.truth && row.truth !== truth) wrong.add(row.file);
    return [{ ...row, size: item.size, truth, origin: open.origins[origin] }];
  });
  foreign.forEach((n, file) => note(file, `${count(n, "answer")} left out: to pictures of another survey or build`));
  [...wrong].sort().forEach((file) => note(file, "says otherwise what pictures are than the survey's page, which counts"));
  return good;
};
const newest = (rows, note) => {
  const raters = new Map();
  for (const row of rows) {
    const files = raters.get(row.rater) || raters.set(row.rater, new Map()).get(row.rater);
    files.set(row.file, [...(files.get(row.file) || []), row]);
  }
  const said = (some) => new Set(some.map((row) => [row.item, row.answer, row.confidence].join()));
  const latest = (some) => some.map((row) => moment(row.saved)).sort().at(-1);
  return [...raters].flatMap(([rater, files]) => {
    const sorted = [...files].sort(([a, one], [b, two]) =>
      latest(two) > latest(one) ? 1 : latest(two) < latest(one) ? -1 : two.length - one.length || (a < b ? -1 : 1));
    const best = sorted.reduce((one, other) => !latest(other[1]) && other[1].length > one[1].length ? other : one); // a code says no time
    const there = said(best[1]);
    for (const [file, some] of sorted.filter((other) => other !== best)) {
      const here = said(some), time = latest(some);
      const why = time && time < latest(best[1]) ? "is newer" : "has as many or more";
      const part = here.size === there.size ? `the same answers of rater ${rater} as` : `a part of rater ${rater}'s answers in`;
      note(file, [...here].every((one) => there.has(one)) ? `${part} ${best[0]}: counted once`
        : `other answers of rater ${rater} than ${best[0]}, which ${why} and counts; two people with one code would look like this, too`);
    }
    return best[1];
  });
};

// statistics

const groupBy = (rows, what) => {
  const groups = new Map();
  for (const row of rows) groups.set(what(row), [...(groups.get(what(row)) || []), row]);
  return groups;
};
const scored = (rows) => {
  const right = rows.filter((row) => row.truth === row.answer).length;
  return { n: rows.length, right, share: right / rows.length, interval: wilson(right, rows.length) };
};
const fleiss = (rows) => {
  const counts = [...groupBy(rows, (row) => row.item).values()].filter((some) => some.length > 1)
    .map((some) => KINDS.map((kind) => some.filter((row) => row.answer === kind).length));
  if (!counts.length) return "needs two raters of the same pictures";
  const total = counts.flat().reduce((a, b) => a + b, 0), shares = [0, 1].map((j) => counts.reduce((sum, c) => sum + c[j], 0) / total);
  if (shares.includes(0)) return "everybody said the same throughout";
  const chance = shares[0] ** 2 + shares[1] ** 2;
  const agreed = mean(counts.map(([a, b]) => (a * (a - 1) + b * (b - 1)) / ((a + b) * (a + b - 1))));
  return (agreed - chance) / (1 - chance);
};
const pearson = (pairs, name) => { // r with Fisher's interval, or why there is none
  if (pairs.length < 4) return `needs at least 4 raters with a number for ${name}, has ${pairs.length}`;
  const [mx, my] = [0, 1].map((i) => mean(pairs.map((pair) => pair[i])));
  const sum = (f) => pairs.reduce((total, [x, y]) => total + f(x - mx, y - my), 0);
  const sxx = sum((x) => x * x), syy = sum((x, y) => y * y);
  if (sxx < 1e-12 || syy < 1e-12) return `all ${pairs.length} raters have the same ${sxx < 1e-12 ? "accuracy" : name}`;
  const r = sum((x, y) => x * y) / Math.sqrt(sxx * syy), reach = 1.959963984540054 / Math.sqrt(pairs.length - 3);
  return `${r.toFixed(2)} (95% interval ${Math.tanh(Math.atanh(r) - reach).toFixed(2)} to ${Math.tanh(Math.atanh(r) + reach).toFixed(2)}), ${pairs.length} raters`;
};

const classResult = (settings, rows) => {
  const all = scored(rows), paper = settings.paper, raters = [...groupBy(rows, (row) => row.rater)].map(([code, own]) => ({ code, own, ...scored(own),
    asked: own[0].asked, years: own[0].experience, sure: mean(own.map((row) => row.confidence)),
    minutes: own.some((row) => row.seconds !== null) ? own.reduce((sum, row) => sum + (row.seconds || 0), 0) / 60 : null }));
  const range = ({ share, interval: [low, high] }) => `${percent(share)} (${percent(low)}\u00a0to\u00a0${percent(high)})`;
  const line = (name, some) => [name, ...KINDS.map((kind) => some.filter((row) => row.answer === kind).length), range(scored(some))];
  const groups = [...SIZES.flatMap((size) => KINDS.map((truth) => [`${size}, ${truth}`, rows.filter((row) => row.size === size && row.truth === truth)])),
    ...[...groupBy(rows.filter((row) => row.truth === "synthetic"), (row) => row.origin)].sort().map(([origin, some]) => [`by ${esc(origin)}`, some])];
  const sure = [1, 2, 3, 4, 5, 6, 7].map((n) => [n, rows.filter((row) => row.confidence === n)]).filter(([, some]) => some.length);
  const kappa = fleiss(rows), said = (value) => typeof value === "number" ? value.toFixed(2) : `cannot be computed: ${value}`;
  const pairs = (what) => raters.filter((rater) => rater[what] !== null).map((rater) => [rater.share, rater[what]]);
  const pictures = [...groupBy(rows, (row) => row.item)].map(([name, some]) => ({ name, some, ...scored(some) }))
    .sort((a, b) => a.share - b.share || b.n - a.n || (a.name < b.name ? -1 : 1));
  const src = new Map(settings.items.map((item) => [item.name, item.src]));
  return `<p class="big"><strong>${all.right} of ${all.n} answers right, ${percent(all.share)}</strong>
      (95% interval ${percent(all.interval[0])} to ${percent(all.interval[1])}), ${count(raters.length, "rater")}.</p>
    ${chart([["The class", all.share, all.interval], [`${paper.raters} pathologists`, paper.accuracy, [paper.low, paper.high]]])}
    <p class="soft">Both intervals take all answers as independent, which they are not quite: they are somewhat too narrow. Dashed: guessing.</p>
    <h3>By size and truth, and by model</h3>
    ${dataTable("By size and truth, and by model", ["pictures", "said real", "said synthetic", "right"], groups.filter(([, some]) => some.length).map(([name, some]) => line(name, some)))}
    <h3>Do they know when they know?</h3>
    ${dataTable("By confidence", ["confidence", "answers", "right"], sure.map(([n, some]) => [n, some.length, range(scored(some))]))}
    <h3>Agreement, and what goes with accuracy</h3>
    ${dataTable("Agreement and correlations", ["", "value"], [["Fleiss' kappa", said(kappa)], ["accuracy and confidence, r", pearson(pairs("sure"), "confidence")],
      ["accuracy and experience, r", pearson(pairs("years"), "experience")], ["accuracy and minutes, r", pearson(pairs("minutes"), "minutes")]])}
    <h3>Raters</h3>
    ${dataTable("Raters", ["code", "answers", "right", "mean confidence", "years", "minutes"], raters.sort((a, b) => b.share - a.share).map((rater) => [esc(rater.code),
      rater.asked ? `${rater.n} of ${rater.asked}` : rater.n, range(rater), rater.sure.toFixed(1), rater.years ?? "not given", rater.minutes === null ? "unknown" : rater.minutes.toFixed(1)]))}
    <h3>Pictures, hardest first</h3>
    <p>Red: where raters marked a picture, after they knew what it was.</p>
    <ul class="all">${pictures.map(({ name, some, right, n }) => `<li><figure class="marks" data-picture="${esc(name)}"><img src="${esc(src.get(name))}" loading="lazy"
      alt="A ${some[0].size} picture, ${some[0].truth}"><canvas width="96" height="96" aria-hidden="true"></canvas></figure>
      <strong>${right} of ${n} right</strong><br>${some[0].truth}, ${esc(some[0].origin)}${some.some((row) => row.taps.length) ? `; ${count(some.reduce((sum, row) => sum + row.taps.length, 0), "mark")}` : ""}</li>`).join("")}</ul>`;
};
const drawMarks = (stage, rows) => { // each rater counts once at a place, however often they tapped
  for (const figure of stage.querySelectorAll(".marks")) {
    const own = rows.filter((row) => row.item === figure.dataset.picture && row.taps.length), canvas = figure.querySelector("canvas");
    const pen = canvas.getContext("2d"), side = canvas.width, picture = pen.createImageData(side, side), sigma = 0.04 * side;
    if (!own.length) continue;
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
      const heat = own.reduce((sum, row) => sum + Math.max(...row.taps.map(([a, b]) =>
        Math.exp(-((a * side - x - 0.5) ** 2 + (b * side - y - 0.5) ** 2) / (2 * sigma * sigma)))), 0);
      picture.data.set([211, 0, 28, Math.round(220 * Math.min(1, heat / Math.max(1, own.length / 2)))], 4 * (y * side + x));
    }
    pen.putImageData(picture, 0, 0);
  }
};

// the page on which files are dropped

const classroom = (root, settings) => {
  const stage = root.querySelector("[data-part=stage]"), open = unseal(settings), handed = new Map(); // name of a file: its text
  stage.innerHTML = `<p><strong>This page shows what the pictures are.</strong> Open it when everybody has handed in. Nothing leaves it, and nothing is kept
      when you close it.</p>
    <label class="drop">Drop files here (CSV, JSON, or text with answer codes), or choose them<input type="file" multiple accept=".csv,.tsv,.json,.txt,.CSV,.JSON"></label>
    <label class="field">Answer codes, one after the other<textarea rows="3" spellcheck="false" autocomplete="off"></textarea></label>
    <div class="row"><button type="button" class="main" data-do="codes">Add the codes</button>
      <button type="button" data-do="csv" disabled>Save all as CSV</button><button type="button" data-do="json" disabled>Save all as JSON</button>
      <button type="button" data-do="clear">Take all away</button></div>
    <div data-part="notes" role="status"></div><div data-part="result"></div>`;
  const find = (what) => stage.querySelector(what);
  let rows = [];
  const update = () => {
    const notes = [], note = (file, text) => notes.push([file, text]);
    const read = [...handed].flatMap(([name, text]) => readHanded(settings, name, text, (said) => note(name, said)));
    rows = newest(withTruth(settings, open, read, note), note);
    const some = rows.length > 0, raters = new Set(rows.map((row) => row.rater)).size;
    find("[data-part=notes]").innerHTML = handed.size ? `<p>${count(handed.size, "file")}, ${count(raters, "rater")}, ${count(rows.length, "answer")}.</p>
      ${notes.length ? `<ul class="notes">${notes.map(([file, text]) => `<li><strong>${esc(file)}</strong>: ${esc(text)}.</li>`).join("")}</ul>` : ""}` : "";
    find("[data-part=result]").innerHTML = some ? classResult(settings, rows) : "";
    drawMarks(stage, rows);
    stage.querySelectorAll("[data-do=csv], [data-do=json]").forEach((button) => { button.disabled = !some; });
  };
  const add = async (files) => {
    for (const file of files) {
      let name = file.name;
      const text = textOf(new Uint8Array(await file.arrayBuffer()));
      for (let i = 2; handed.has(name) && handed.get(name) !== text; i++) name = `${file.name} (${i})`; // of two folders
      handed.set(name, text);
    }
    update();
  };
  const actions = {
    codes: () => {
      const box = find("textarea");
      if (box.value.trim()) handed.set(`codes ${1 + [...handed.keys()].filter((name) => name.startsWith("codes ")).length}.txt`, box.value);
      box.value = "";
      update();
    },
    csv: () => hand(asCsv(rows), "text/csv", `survey-${settings.survey}-class.csv`),
    json: () => {
      const raters = [...groupBy(rows, (row) => row.rater).values()].map((own) => asJson(settings, own[0], own).trim());
      hand(`[${raters.join(",\n")}]\n`, "application/json", `survey-${settings.survey}-class.json`);
    },
    clear: () => { handed.clear(); update(); },
  };
  stage.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  stage.addEventListener("change", (event) => {
    if (event.target.type === "file") add([...event.target.files]).then(() => { event.target.value = ""; });
  });
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => {
    event.preventDefault();
    find(".drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add([...event.dataTransfer.files]);
  });
  const given = decodeURIComponent(location.hash.slice(1));
  if (given.startsWith("DS2")) { handed.set("code of the address.txt", given); update(); }
};
const board = document.querySelector(".dl-classroom:not([data-started])");
if (board) {
  board.dataset.started = "";
  classroom(board, JSON.parse(board.querySelector("[data-part=settings]").textContent));
}

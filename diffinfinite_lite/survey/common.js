// What the survey's pages share: names, statistics, the seal, the rater's order, answer codes, tables for files.
// `page.py` puts the parts that a page needs into one function, this one first.

const SIZES = ["small", "large"], KINDS = ["real", "synthetic"];
const COLUMNS = ["survey", "rater", "experience", "asked", "saved", "item", "size", "truth", "origin", "answer", "confidence",
                 "seconds", "position", "taps"];
const percent = (share) => `${Math.round(100 * share)}%`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const now = () => new Date().toISOString().replace(/\.\d+Z$/, "Z");
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const esc = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const complete = (given) => Boolean(given && given.answer && given.confidence);

const wilson = (right, n, z = 1.959963984540054) => {
  const p = right / n, d = 1 + z * z / n, middle = (p + z * z / (2 * n)) / d;
  const reach = z / d * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return [middle - reach, middle + reach];
};

// In how many of n answers 95 of 100 people who toss a coin are right, as [low, high].
const byGuessing = (n) => {
  const reached = (share) => {
    let k = 0, ways = 1, sum = 2 ** -n;
    while (sum < share) { ways *= (n - k) / ++k; sum += ways * 2 ** -n; }
    return k;
  };
  return [reached(0.025), reached(0.975)];
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
const utf8 = (text) => new TextEncoder().encode(text);
const chained = (key, i) => { // SHA-256 of a key and a counter
  const block = new Uint8Array(36);
  block.set(key);
  new DataView(block.buffer).setUint32(32, i);
  return sha256(block);
};
const unseal = (settings) => {
  let secret = sha256(utf8(settings.items.map((item) => item.name).join(",")));
  for (let i = 0; i < settings.rounds; i++) secret = sha256(secret);
  const bytes = Uint8Array.from(atob(settings.sealed), (c) => c.charCodeAt(0));
  for (let start = 0; start < bytes.length; start += 32) {
    chained(secret, start / 32).forEach((value, i) => { if (start + i < bytes.length) bytes[start + i] ^= value; });
  }
  return JSON.parse(new TextDecoder().decode(bytes));
};

const random = (n) => crypto.getRandomValues(new Uint32Array(1))[0] % n; // the bias is far below one in a million

// The pictures of a version of the survey, and the order in which a rater sees them: drawn from survey and code, so that
// an answer code need not carry it. `answers.py` draws the same.
const version = (settings, asked) => settings.items.filter((item) => item.short || asked === settings.items.length);
const orderOf = (settings, rater, asked) => {
  const names = version(settings, asked).map((item) => item.name), key = sha256(utf8(`${settings.survey},${rater}`));
  for (let i = names.length - 1; i > 0; i--) {
    const j = new DataView(chained(key, i).buffer).getUint32(0) % (i + 1);
    [names[i], names[j]] = [names[j], names[i]];
  }
  return names;
};

// Answer codes; the layout of the bytes stands in `answers.py`.
const LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const encodeAnswers = (settings, record) => {
  const names = version(settings, record.asked).map((item) => item.name), rater = utf8(record.rater);
  const ms = names.reduce((sum, name) => sum + (record.answers[name]?.ms || 0), 0);
  const seconds = Math.min(65535, Math.round(ms / 1000)), asked = names.length;
  const bytes = [...record.survey.slice(1).match(/../g).map((pair) => parseInt(pair, 16)),
    record.experience === null ? 255 : Math.round(2 * record.experience), seconds >> 8, seconds & 255, asked >> 8, asked & 255,
    rater.length, ...rater];
  const nibble = (name) => {
    const given = record.answers[name];
    return complete(given) ? given.confidence + (given.answer === "synthetic" ? 8 : 0) : 0;
  };
  for (let i = 0; i < asked; i += 2) bytes.push(nibble(names[i]) << 4 | (i + 1 < asked ? nibble(names[i + 1]) : 0));
  bytes.push(...sha256(Uint8Array.from(bytes)).slice(0, 2));
  let bits = bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  bits = bits.padEnd(Math.ceil(bits.length / 5) * 5, "0");
  const text = bits.match(/.{5}/g).map((five) => LETTERS[parseInt(five, 2)]).join("");
  return `DS2-${text.match(/.{1,5}/g).join("-")}`;
};
const decodeAnswers = (settings, code) => { // a record without an order of its own, or an Error that says what is wrong
  const text = code.toUpperCase().replace(/[\s-]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  if (!text.startsWith("DS2") || [...text.slice(3)].some((letter) => !LETTERS.includes(letter))) {
    throw new Error("That is no answer code: it begins with DS2.");
  }
  const bits = [...text.slice(3)].map((letter) => LETTERS.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = Uint8Array.from((bits.match(/.{8}/g) || []).map((eight) => parseInt(eight, 2)));
  const body = bytes.slice(0, -2), check = sha256(body);
  if (bytes.length < 13 || bytes.at(-2) !== check[0] || bytes.at(-1) !== check[1]) {
    throw new Error("The answer code is not complete, or has a letter wrong.");
  }
  const survey = "s" + [...body.slice(0, 5)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (survey !== settings.survey) throw new Error("The answer code is of another survey, or of another build of this page.");
  const [years, high, low, a, b, n] = body.slice(5, 11), asked = 256 * a + b, answers = {};
  const rater = new TextDecoder().decode(body.slice(11, 11 + n)), nibbles = body.slice(11 + n);
  const items = version(settings, asked);
  if (items.length !== asked) throw new Error("The answer code is of another version of this survey.");
  items.forEach(({ name }, i) => {
    const value = i % 2 ? nibbles[i >> 1] & 15 : nibbles[i >> 1] >> 4;
    if (value & 7) answers[name] = { answer: value & 8 ? "synthetic" : "real", confidence: value & 7 };
  });
  const given = Object.values(answers), ms = 1000 * (256 * high + low) / (given.length || 1);
  given.forEach((answer) => { answer.ms = ms; });
  return { survey, rater, experience: years === 255 ? null : years / 2, asked, answers, taps: {}, order: orderOf(settings, rater, asked) };
};

// Files. A field that a spreadsheet would take for a formula gets an apostrophe before it.
const neutral = (text) => text.replace(/(^|[;\t\r\n])(?=[=+\-@])/g, "$1'").replace(/^(?=[\t\r])/, "'"); // semicolons end cells, too
const field = (value) => {
  const text = typeof value === "number" ? String(value) : neutral(String(value ?? ""));
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
};
const spots = (taps) => (taps || []).map(([x, y]) => `${+x.toFixed(3)}:${+y.toFixed(3)}`).join(" ");
const asCsv = (rows) => [COLUMNS.join(","), ...rows.map((row) =>
  COLUMNS.map((name) => field(name === "taps" ? spots(row.taps) : row[name])).join(","))].join("\n") + "\n";
const rowsOf = (settings, record, open) => { // the answers given so far, as rows of an export; `open` is the truth, or null
  const items = new Map(settings.items.map((item, place) => [item.name, { ...item, place }]));
  return record.order.flatMap((name, i) => {
    const given = record.answers[name], item = items.get(name);
    if (!complete(given)) return [];
    const [real, origin] = open ? open.truth[item.place] : [];
    return [{ survey: record.survey, rater: record.rater, experience: record.experience, asked: record.asked, saved: record.saved,
      item: name, size: item.size, truth: open ? KINDS[real ? 0 : 1] : "", origin: open ? open.origins[origin] : "",
      answer: given.answer, confidence: given.confidence, seconds: Math.round((given.ms || 0) / 100) / 10, position: i + 1,
      taps: record.taps?.[name] || [] }];
  });
};
const asJson = (settings, record, rows) => {
  const shared = Object.fromEntries(COLUMNS.slice(0, 5).map((name) => [name, record[name] ?? null]));
  const answers = rows.map((row) => Object.fromEntries(COLUMNS.slice(5).map((name) => [name, row[name]])));
  return JSON.stringify({ format: settings.format, ...shared, answers }, null, 1) + "\n";
};
const hand = (text, type, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

const drawQr = (canvas, text) => { // dark on light in every theme, or scanners fail
  const code = leanQR.generate(text), scale = Math.max(3, Math.floor(240 / (code.size + 8)));
  canvas.width = canvas.height = scale * (code.size + 8);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000";
  for (let y = 0; y < code.size; y++) for (let x = 0; x < code.size; x++) {
    if (code.get(x, y)) pen.fillRect(scale * (x + 4), scale * (y + 4), scale, scale);
  }
};

// Shares of right answers with intervals; chance as a dashed line. Rows: [name, share, [low, high]]; the first is filled.
const chart = (lines) => {
  const x = (share) => 20 + 360 * share, bottom = 14 + 46 * lines.length;
  const marks = lines.map(([name, share, [low, high]], i) => {
    const y = 38 + 46 * i;
    return `<text x="20" y="${y - 16}">${esc(name)}</text><path d="M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 6}v12M${x(high)} ${y - 6}v12"
      stroke="currentColor" stroke-width="2"/><circle cx="${x(share)}" cy="${y}" r="6" class="${i ? "hollow" : "full"}"
      stroke="currentColor" stroke-width="2"/>`;
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((t) => `<text x="${x(t)}" y="${bottom + 18}" text-anchor="middle">${percent(t)}</text>`);
  const text = lines.map(([name, share, [low, high]]) => `${name}: ${percent(share)}, ${percent(low)} to ${percent(high)}`).join(". ");
  return `<svg viewBox="0 0 400 ${bottom + 24}" role="img" aria-label="Share of right answers with 95% intervals. ${esc(text)}. Guessing: 50%."
    font-family="inherit" font-size="13" fill="currentColor"><path d="M${x(0)} ${bottom}H${x(1)}" stroke="currentColor"/>
    <path d="M${x(0.5)} 26V${bottom}" stroke="currentColor" stroke-dasharray="4 4"/>${marks.join("")}${ticks.join("")}</svg>`;
};
const dataTable = (label, heads, rows) => `<div class="wide" tabindex="0" role="group" aria-label="${label}"><table>
  <thead><tr>${heads.map((head) => head ? `<th scope="col">${head}</th>` : "<td></td>").join("")}</tr></thead>
  <tbody>${rows.map(([name, ...cells]) => `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("")}
  </tbody></table></div>`;

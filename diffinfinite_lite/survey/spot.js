// Spot the difference: two pictures, one tap a round. A tap in either picture counts as in both.

const spot = (root, settings) => {
  const stage = root.querySelector("[data-part=stage]"), intro = root.querySelector("[data-part=intro]");
  const find = (what) => stage.querySelector(what), all = (what) => [...stage.querySelectorAll(what)];
  const items = settings.items, total = items.length, key = `diffinfinite-spot-${settings.game}`, SIDES_SAID = ["before", "after"];
  let state = null, kept = true, shown = null, seconds = 0, cross = null, opened = null;

  const save = () => { try { localStorage.setItem(key, JSON.stringify(state)); } catch { kept = false; } };
  const truth = (i) => (opened ??= unseal(settings))[i]; // asked for after the tap, or for the words
  const clock = (running) => {
    if (shown !== null) seconds += (performance.now() - shown) / 1000;
    shown = running ? performance.now() : null;
  };
  const open = () => Boolean(find(".spot:not(.told)"));
  document.addEventListener("visibilitychange", () => { if (open()) clock(!document.hidden); });
  const show = (html, focus = true, asking = false) => {
    root.classList.toggle("asking", asking);
    stage.innerHTML = html;
    if (!focus) return;
    find("h2").focus({ preventScroll: true });
    if (!asking) find("h2").scrollIntoView({ block: "start" });
  };

  const welcome = (focus) => {
    intro.hidden = false;
    const done = state?.rounds.length;
    show(`<h2 tabindex="-1">${done ? "Welcome back" : "Ten pairs, one change each".replace("Ten", total === 10 ? "Ten" : total)}</h2>
      <p>${done ? `${done} of ${total} rounds are played.` : "The first are the easiest."} Nothing leaves this browser.</p>
      <div class="row"><button type="button" class="main" data-do="${done ? "go" : "begin"}">${done ? `Go on with round ${done + 1}` : "Start"}</button>
      ${done ? '<button type="button" data-do="begin">Begin again</button>' : ""}</div>`, focus);
  };
  const begin = () => { state = { game: settings.game, rounds: [] }; save(); ask(); };

  const half = (i, side) => `<div class="half" tabindex="0" role="application" data-side="${side}" aria-label="Picture ${SIDES_SAID[side]} the change; arrow keys move the cross, Enter marks the place">
    <img src="${esc(items[i][SIDES_SAID[side]])}" alt="Round ${i + 1}: synthetic tissue ${SIDES_SAID[side]} the change" draggable="false">
    <svg viewBox="0 0 ${items[i].size[1]} ${items[i].size[0]}" aria-hidden="true"></svg></div>`;
  const page = (i, rest) => {
    intro.hidden = true;
    show(`<div class="ask spot"><div class="top"><h2 tabindex="-1">Round ${i + 1} of ${total}</h2><span></span>
        <button type="button" data-do="pause">Pause</button><progress max="${total}" value="${i}" aria-label="Rounds played"></progress></div>
      <div class="room"><div class="pair">${half(i, 0)}${half(i, 1)}</div></div>
      <div class="below">${rest}</div></div>`, true, settings.alone);
    find(".pair").style.setProperty("--ratio", items[i].size[1] / items[i].size[0]);
  };
  const ask = () => {
    const i = state.rounds.length;
    [cross, seconds] = [null, 0];
    page(i, `<p class="soft">Tap the place that differs, in either picture.<span class="keys"> Keys: arrows move a cross in the picture, <kbd>Enter</kbd> marks.</span></p>
      <div class="row"><button type="button" data-do="give">I do not see it</button><button type="button" data-do="words">In words</button></div>
      <dialog aria-label="The pictures in words"></dialog>`);
    const loading = all(".half img").map((image) => image.decode().catch(() => null));
    Promise.all(loading).then(() => { if (open() && shown === null && !document.hidden) clock(true); });
    if (items[i + 1]) for (const side of SIDES_SAID) new Image().src = items[i + 1][side];
  };

  const cellsOf = (i) => {
    const width = items[i].size[1] / settings.cell;
    return truth(i).blob.map((place) => [place % width, Math.floor(place / width)]);
  };
  // px from a point to the nearest of the changed cells
  const distance = (cells, x, y) => Math.min(...cells.map(([a, b]) => {
    const reach = (value, low) => Math.max(low - value, 0, value - low - settings.cell);
    return Math.hypot(reach(x, settings.cell * a), reach(y, settings.cell * b));
  }));
  const chanceOf = (i, near) => { // that a tap anywhere hits
    const [height, width] = items[i].size, cells = cellsOf(i), step = 8;
    let hit = 0, n = 0;
    for (let y = step / 2; y < height; y += step) for (let x = step / 2; x < width; x += step, n++) hit += distance(cells, x, y) <= near;
    return hit / n;
  };
  // A finger is 22 px of the screen wide to each side of its middle, however large the picture is shown.
  const nearness = (i, finger) => Math.max(settings.near, finger ? 22 * items[i].size[1] / find(".half").clientWidth : 0);
  const mark = (point, way, finger) => {
    if (!open()) return;
    clock(false);
    const i = state.rounds.length, near = nearness(i, finger);
    const found = Boolean(point) && (way === "words" ? cellsInField(i, point) : distance(cellsOf(i), ...point) <= near);
    const center = way === "words" ? [(point[1] + 0.5) * items[i].size[1] / truth(i).words[0][0].length, (point[0] + 0.5) * items[i].size[0] / truth(i).words[0].length] : point;
    const chance = way === "words" ? fieldsHit(i) : chanceOf(i, near);
    state.rounds.push({ found, way, seconds: Math.round(10 * seconds) / 10, at: center && center.map(Math.round), chance: +chance.toFixed(3) });
    save();
    tell(i, true);
  };
  const fieldOf = (i, [a, b]) => { // row and column of the field in which a cell's middle lies
    const words = truth(i).words[0], [height, width] = items[i].size, c = settings.cell;
    return [Math.floor((b + 0.5) * c * words.length / height), Math.floor((a + 0.5) * c * words[0].length / width)];
  };
  const cellsInField = (i, [row, column]) => cellsOf(i).some((cell) => { const f = fieldOf(i, cell); return f[0] === row && f[1] === column; });
  const fieldsHit = (i) => new Set(cellsOf(i).map((cell) => fieldOf(i, cell).join())).size / (truth(i).words[0].length * truth(i).words[0][0].length);

  const outline = (i) => { // sides of changed cells that no other changed cell shares
    const cells = cellsOf(i), c = settings.cell, has = new Set(cells.map(String));
    return cells.map(([a, b]) => [[a, b - 1, `M${c * a} ${c * b}h${c}`], [a, b + 1, `M${c * a} ${c * b + c}h${c}`],
      [a - 1, b, `M${c * a} ${c * b}v${c}`], [a + 1, b, `M${c * a + c} ${c * b}v${c}`]]
      .filter(([x, y]) => !has.has(`${x},${y}`)).map(([, , path]) => path).join("")).join("");
  };
  const crossAt = ([x, y]) => `M${x - 12} ${y}h24m-12-12v24`;
  const sign = (path) => `<path class="under" d="${path}"/><path class="over" d="${path}"/>`;
  const draw = (point) => all(".half svg").forEach((svg) => { svg.innerHTML = point ? sign(crossAt(point)) : ""; });

  const tell = (i, focus) => {
    const round = state.rounds[i], told = truth(i), last = i === total - 1;
    if (focus) {
      find(".spot").classList.add("told");
      find(".top progress").value = i + 1;
    }
    all(".half svg").forEach((svg) => { svg.innerHTML = sign(outline(i)) + (round.at ? sign(crossAt(round.at)) : ""); });
    const how = round.found ? `<strong class="right">Found</strong> after ${round.seconds} s` : `<strong class="wrong">${round.way === "none" ? "Not seen" : "Missed"}</strong>`;
    find(".below").innerHTML = `<p aria-live="polite">${how}: ${esc(told.what)}. ${percent(told.recomputed)} of the latents were computed again, and ${percent(told.equal)} of the
      pixels are equal to the last bit.</p><div class="row"><button type="button" class="main" data-do="${last ? "end" : "go"}">${last ? "See the result" : "Next"}</button>
      <button type="button" data-do="swap" aria-pressed="false">Swap the pictures</button></div>`;
    find(".below .main").focus({ preventScroll: true });
  };

  const result = (focus = true) => {
    intro.hidden = true;
    const rounds = state.rounds, found = rounds.filter((round) => round.found), [low, high] = wilson(found.length, rounds.length);
    const times = found.map((round) => round.seconds).sort((a, b) => a - b), chance = rounds.reduce((sum, round) => sum + round.chance, 0);
    const median = times.length ? (times[(times.length - 1) >> 1] + times[times.length >> 1]) / 2 : null;
    const way = { tap: "tap", keys: "by keys", words: "in words", none: "gave up" };
    show(`<h2 tabindex="-1">Your result</h2>
      <p class="big"><strong>${found.length} of ${rounds.length} found</strong> (95% interval ${percent(low)} to ${percent(high)})${median === null ? "" : `,
        half of them within ${median.toFixed(1)} s`}.</p>
      <p>Taps anywhere would have found ${chance.toFixed(1)} of ${rounds.length}.${rounds.some((round) => round.way === "words") ? " Rounds in words are another task, and easier." : ""}
        What you missed is what the eye passes over: look at those again, and swap the pictures.</p>
      ${dataTable("Rounds", ["round", "what was hidden", "found"], rounds.map((round, i) =>
        [i + 1, esc(truth(i).what), `${round.found ? "✓" : "✗"}\u00a0${round.seconds.toFixed(1)}\u00a0s, ${way[round.way]}`]))}
      <div class="row"><button type="button" data-do="json">Save as JSON</button><button type="button" data-do="begin">Begin again</button></div>
      <h3>Look again</h3><ul class="all">${rounds.map((round, i) => `<li><button type="button" data-again="${i}"><img src="${esc(items[i].after)}" loading="lazy" alt="Round ${i + 1}">
        <span class="${round.found ? "right" : "wrong"}">${round.found ? "✓ found" : "✗ missed"}</span><br>${esc(truth(i).what)}</button></li>`).join("")}</ul>`, focus);
  };

  const words = () => {
    const dialog = find("dialog"), [before, after] = truth(state.rounds.length).words;
    dialog.innerHTML = `<p>What lies in each field of the masks, before and after. Choose the field in which they differ.</p><div class="wide" tabindex="0" role="group" aria-label="Fields"><table>
      <thead><tr><td></td>${before[0].map((_, column) => `<th scope="col">column ${column + 1}</th>`).join("")}</tr></thead>
      <tbody>${before.map((row, r) => `<tr><th scope="row">row ${r + 1}</th>${row.map((text, c) => `<td><button type="button" data-field="${r},${c}">before: ${esc(text)}; after: ${esc(after[r][c])}</button></td>`).join("")}</tr>`).join("")}</tbody></table></div>
      <form method="dialog"><button class="main">Close</button></form>`;
    dialog.showModal();
  };

  const actions = {
    begin, end: () => result(), words,
    go: () => { if (state.rounds.length < total) ask(); else result(); },
    give: () => mark(null, "none"),
    pause: () => { clock(false); if (state.rounds.length < total) { root.classList.remove("asking"); welcome(true); } else result(); },
    swap: (button) => {
      const [one, other] = all(".half img");
      [one.src, other.src] = [other.src, one.src];
      [one.alt, other.alt] = [other.alt, one.alt];
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "false");
    },
    json: () => hand(JSON.stringify({ format: settings.format, game: state.game, rounds: state.rounds.map((round, i) => ({ round: i + 1, what: truth(i).what, ...round })) }, null, 1) + "\n",
      "application/json", `spot-${state.game}.json`),
  };
  const again = (i) => {
    page(i, "");
    find(".spot").classList.add("told");
    find("[data-do=pause]").textContent = "Result";
    tell(i, false);
    Object.assign(find(".below .main"), { textContent: "Back to the result" }).dataset.do = "end";
  };
  stage.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-again], [data-field]"), picture = event.target.closest(".half");
    if (button?.dataset.do) actions[button.dataset.do]?.(button);
    else if (button?.dataset.again) again(Number(button.dataset.again));
    else if (button?.dataset.field) { find("dialog").close(); mark(button.dataset.field.split(",").map(Number), "words"); }
    else if (picture && open() && event.detail) {
      const box = picture.getBoundingClientRect(), [height, width] = items[state.rounds.length].size;
      mark([width * (event.clientX - box.left) / box.width, height * (event.clientY - box.top) / box.height], "tap", event.pointerType === "touch");
    }
  });
  stage.addEventListener("pointermove", (event) => { // the pointer's place in the other picture
    const picture = event.target.closest(".half");
    if (event.pointerType !== "mouse" || !open()) return;
    if (!picture) { if (!cross) draw(null); return; }
    const box = picture.getBoundingClientRect(), [height, width] = items[state.rounds.length].size;
    cross = null;
    draw(null);
    const other = all(".half svg")[1 - picture.dataset.side];
    other.innerHTML = sign(crossAt([width * (event.clientX - box.left) / box.width, height * (event.clientY - box.top) / box.height]));
  });
  stage.addEventListener("keydown", (event) => {
    if (!event.target.closest(".half") || !open() || event.ctrlKey || event.altKey || event.metaKey) return;
    const [height, width] = items[state.rounds.length].size, far = event.shiftKey ? 40 : 8;
    const step = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (step) {
      cross = cross ? [Math.min(width, Math.max(0, cross[0] + step[0])), Math.min(height, Math.max(0, cross[1] + step[1]))] : [width / 2, height / 2];
      draw(cross);
    } else if ((event.key === "Enter" || event.key === " ") && cross) mark(cross, "keys");
    else return;
    event.preventDefault();
  });

  try { state = JSON.parse(localStorage.getItem(key)); } catch { kept = false; }
  if (state?.rounds.length === total) result(false); else welcome(false);
};
startGame("spot", spot);

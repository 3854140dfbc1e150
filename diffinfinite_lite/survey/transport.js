// Where the player keeps answers: in this browser, or on a server. The player calls nothing but these functions.
//
// A *record* is all that is kept of one rater:
//   { survey, rater, experience (years or null), asked (how many pictures), order: [names of pictures],
//     answers: { name: { answer: "real" | "synthetic", confidence: 1..7, ms } }, taps: { name: [[x, y], ...] },
//     at (place in the order), saved (when, ISO 8601) }
// It is finished when every picture of `order` has an answer and a confidence. x and y are shares of a picture's side.
//
// A *transport* has, all but `kept` and `place` asynchronous and each refusing with an Error whose message is one
// sentence for the rater:
//   place           "browser" or "server", for what the page says about it
//   kept            false once a browser has refused to keep anything
//   recall()        the record that this browser kept, or null
//   begin(who)      a new record, or that of the same rater and length to go on with; who = { rater, experience, asked }
//   answer(record, name)   keeps the answer to one picture; the next one is shown only after it is kept
//   note(record)    keeps what may be lost: half an answer, the place, seconds. Never waits, never refuses
//   taps(record, name)     keeps the marks of the red pen on one picture
//   stop(record)    the record without the pictures that have no answer: finished, by the rater or the end of the class
//   truth(record)   of a finished record: { origins: [...], truth: [[real 0 | 1, place of origin], ...] } in page order
//   forget(record)  erases the record
//   watch(changed)  calls changed(record or null) when another tab of this browser has kept or erased it
//
// Marks that a server has not accepted yet go with the next ones, or when the result is opened again.
// An Error that has `again` may pass by itself: the player tries the same once more after a few seconds.
//
// The server is `service.py`: POST begin, answer, taps, truth, forget below `settings.server`, JSON in and out. A record from
// there also has `code`, which is the rater's name and the key to go on with, and its pictures have names of that class.
// An answer has `revision`, how often it was sent anew: to send it twice stores it once, and a late copy changes nothing.
// A refusal is a status from 400 up with { "message": one sentence }.

const inBrowser = (settings) => {
  const key = `diffinfinite-survey-${settings.survey}`;
  const transport = {
    place: "browser",
    kept: true,
    recall: async () => {
      try { return JSON.parse(localStorage.getItem(key)); } catch { transport.kept = false; return null; }
    },
    begin: async ({ rater, experience, asked }) => {
      const code = rater || `r${Array.from({ length: 8 }, () => random(16).toString(16)).join("")}`;
      const record = { survey: settings.survey, rater: code, experience, asked, order: orderOf(settings, code, asked),
                       answers: {}, taps: {}, at: 0, saved: now() };
      await transport.note(record);
      return record;
    },
    answer: async (record) => transport.note(record),
    taps: async (record) => transport.note(record),
    note: async (record) => {
      record.saved = now();
      try { localStorage.setItem(key, JSON.stringify(record)); } catch { transport.kept = false; }
    },
    stop: async (record) => {
      const answered = { ...record, at: 0, order: record.order.filter((name) => complete(record.answers[name])) };
      await transport.note(answered);
      return answered;
    },
    truth: async () => unseal(settings),
    forget: async () => {
      try { localStorage.removeItem(key); } catch { transport.kept = false; }
    },
    watch: (changed) => addEventListener("storage", (event) => {
      if (event.key === key || event.key === null) changed(event.newValue ? JSON.parse(event.newValue) : null);
    }),
  };
  return transport;
};

const onServer = (settings) => {
  const local = inBrowser(settings); // what the server has not accepted yet stays here
  const refuse = (message, status) => Object.assign(new Error(message), { status, again: !status || status === 429 || status >= 500 });
  const post = async (what, body) => {
    let reply;
    try {
      reply = await fetch(settings.server + what, { method: "POST", credentials: "omit", cache: "no-store",
        headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    } catch { throw refuse("The server cannot be reached. What you said is kept in this browser and sent again.", 0); }
    const said = await reply.json().catch(() => ({}));
    if (!reply.ok) throw refuse(said.message || "The server does not answer. What you said is kept in this browser and sent again.", reply.status);
    return said;
  };
  const noteSent = async (record) => { if ((await local.recall())?.code === record.code) await local.note(record); }; // not what was erased meanwhile
  const send = async (record) => { // what waits, oldest first
    for (const name of [...(record.waiting || [])]) {
      const { answer, confidence, ms, revision } = record.answers[name];
      await post("answer", { code: record.code, item: name, answer, confidence, ms: Math.round(ms || 0), revision });
      record.waiting = record.waiting.filter((other) => other !== name);
      await noteSent(record);
    }
    for (const name of [...(record.marked || [])]) {
      record.marked = record.marked.filter((other) => other !== name); // before sending: marks made meanwhile wait anew
      try {
        await post("taps", { code: record.code, item: name, taps: record.taps[name] || [] });
      } catch (error) {
        if (error.again) record.marked = [...new Set([...record.marked, name])];
        throw error;
      } finally { await noteSent(record); }
    }
  };
  let sending = Promise.resolve();
  const flush = (record) => sending = sending.catch(() => {}).then(() => send(record)); // one after another, or an older copy wins
  const transport = {
    place: "server",
    get kept() { return local.kept; },
    recall: local.recall,
    begin: async (who) => {
      const nonce = transport.nonce ??= Array.from({ length: 32 }, () => random(16).toString(16)).join("");
      const record = await post("begin", { ...who, nonce }); // the same nonce, the same rater: a lost reply makes no second one
      await local.note(record);
      return record;
    },
    answer: async (record, name) => {
      const given = record.answers[name];
      given.revision = (given.revision ?? -1) + 1;
      record.waiting = [...(record.waiting || []).filter((other) => other !== name), name];
      await local.note(record);
      await flush(record);
    },
    note: local.note,
    watch: local.watch,
    taps: async (record, name) => {
      record.marked = [...new Set([...(record.marked || []), name])];
      await local.note(record);
      await flush(record);
    },
    stop: async (record) => local.stop(await post("begin", { rater: record.code })), // what is stored there counts, and no more
    truth: async (record) => {
      await flush(record);
      return post("truth", { code: record.code });
    },
    forget: async (record) => {
      try { await post("forget", { code: record.code }); } catch (error) { if (error.status !== 403) throw error; } // forgotten there
      transport.nonce = undefined;
      await local.forget();
    },
  };
  return transport;
};

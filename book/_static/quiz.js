// Marks the questions of book/_ext/quiz.py and keeps the choices in this browser. Nothing is sent anywhere.
document.addEventListener("DOMContentLoaded", () => {
  const quizzes = [...document.querySelectorAll("form.quiz")];
  if (!quizzes.length) return;
  const key = (quiz) => `diffinfinite-lite:quiz:${quiz.dataset.quiz}`;
  const load = (quiz) => { try { return JSON.parse(localStorage.getItem(key(quiz))); } catch { return null; } };
  const save = (quiz, state) => {
    try {
      if (state) localStorage.setItem(key(quiz), JSON.stringify(state)); else localStorage.removeItem(key(quiz));
    } catch { /* a browser that keeps nothing still marks */ }
  };
  const make = (tag, values) => Object.assign(document.createElement(tag), values);
  const choices = quizzes.filter((quiz) => quiz.dataset.kind === "choice");

  const summary = make("p", { className: "quiz-summary" });
  const total = make("span", {});
  total.setAttribute("role", "status");
  const clear = make("button", { type: "button", textContent: "Clear my answers on this page" });
  const count = () => {
    const states = choices.map((quiz) => quiz.dataset.state || "");
    const right = states.filter((state) => state === "right").length;
    total.textContent = states.some(Boolean) ? `${right} of ${choices.length} right on this page. ` : "";
    clear.hidden = !states.some(Boolean);
  };

  const marks = new Map();
  choices.forEach((quiz) => {
    const options = [...quiz.querySelectorAll(".quiz-option")];
    const inputs = options.map((option) => option.querySelector("input"));
    const answer = quiz.querySelector("details");
    const bar = make("div", { className: "quiz-bar" });
    const check = make("button", { type: "submit", textContent: "Check" });
    const says = make("p", { className: "quiz-says" });
    says.setAttribute("role", "status");
    bar.append(check, says);
    answer.before(bar);

    const look = quiz.classList.contains("look"); // nothing is shown before a choice
    const reset = (text = "") => {
      delete quiz.dataset.state;
      answer.hidden = look;
      options.forEach((option) => {
        delete option.dataset.mark;
        const why = option.querySelector(".quiz-why");
        if (why) why.hidden = true;
      });
      says.textContent = text;
    };
    const mark = () => {
      const chosen = inputs.map((input) => input.checked);
      reset();
      if (!chosen.some(Boolean)) {
        says.textContent = quiz.dataset.many === "yes" ? "Choose at least one." : "Choose one first.";
        return save(quiz, null), count();
      }
      const right = options.every((option, i) => (option.dataset.right === "yes") === chosen[i]);
      let explained = false;
      options.forEach((option, i) => {
        if (!chosen[i]) return;
        option.dataset.mark = option.dataset.right === "yes" ? "right" : "wrong";
        const why = option.querySelector(".quiz-why");
        if (why) { why.hidden = false; explained = explained || option.dataset.mark === "wrong"; }
      });
      quiz.dataset.state = right ? "right" : "wrong";
      const partly = !right && options.every((option, i) => !chosen[i] || option.dataset.right === "yes");
      says.textContent = right ? "Right." : partly ? "So far right, but not all." : "Not quite.";
      if (right || look || (!partly && !explained)) answer.open = true;   // a wrong choice always gets a reason
      answer.hidden = false;
      save(quiz, { chosen });
      count();
    };
    quiz.addEventListener("submit", (event) => { event.preventDefault(); mark(); });
    quiz.addEventListener("change", () => { reset(); answer.open = false; save(quiz, null); count(); });

    const clearOne = () => {
      inputs.forEach((input) => { input.checked = false; });
      answer.open = false;
      reset();
      save(quiz, null);
    };
    marks.set(quiz, clearOne);
    answer.hidden = look;
    const kept = load(quiz);
    if (kept && Array.isArray(kept.chosen) && kept.chosen.length === inputs.length) {
      inputs.forEach((input, i) => { input.checked = kept.chosen[i] === true; });
      mark();
    }
  });
  quizzes.filter((quiz) => !choices.includes(quiz))
    .forEach((quiz) => quiz.addEventListener("submit", (event) => event.preventDefault()));

  if (choices.length) {
    clear.addEventListener("click", () => {
      choices.forEach((quiz) => marks.get(quiz)());
      count();
      choices[0].querySelector("input").focus();
    });
    summary.append(total, clear);
    quizzes[quizzes.length - 1].after(summary);
    count();
  }
});

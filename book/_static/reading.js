// The switch between Look and Look and code (book/_ext/reading.py). The choice is kept in this browser and stands in the
// address, so that a link shows what its sender saw. Nothing is sent anywhere.
(() => {
  const KEY = "diffinfinite-lite:view", VIEWS = { look: "Look", code: "Look and code" };
  const root = document.documentElement;
  const kept = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const write = (view) => {
    root.dataset.view = view;
    try { localStorage.setItem(KEY, view); } catch { /* the address is enough for this page */ }
    const address = new URL(location.href);
    address.searchParams.set("view", view);
    try { history.replaceState(history.state, "", address); } catch { /* some browsers refuse for files */ }
  };
  const chosen = [new URLSearchParams(location.search).get("view"), kept()].find((view) => view in VIEWS);
  root.dataset.view = "code";
  if (chosen) write(chosen); // before anything is painted

  document.addEventListener("DOMContentLoaded", () => {
    const header = document.querySelector(".header-article-items__start");
    const article = document.querySelector(".bd-article");
    if (!header || !article) return;

    // A link to a place that this view hides shows that place.
    const reveal = () => {
      const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!place) return;
      for (let part = place; part && part !== article; part = part.parentElement) {
        if (part.matches(".code-view, .look-view")) part.dataset.shown = "";
      }
      place.scrollIntoView();
    };
    addEventListener("hashchange", reveal);
    reveal();

    for (const link of document.querySelectorAll(".bd-toc-nav a[href^='#'], .page-toc a[href^='#']")) {
      const place = document.getElementById(decodeURIComponent(link.getAttribute("href").slice(1)));
      const part = place?.closest(".code-view, .look-view");
      if (part) link.parentElement.classList.add(part.classList.contains("code-view") ? "code-view" : "look-view");
    }

    const group = document.createElement("div");
    group.className = "view-switch";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Way to read");
    const buttons = Object.entries(VIEWS).map(([view, name]) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.dataset.view = view;
      group.append(button);
      return button;
    });
    const press = () => buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.view === root.dataset.view));
    });
    group.addEventListener("click", (event) => {
      const { view } = event.target.dataset;
      if (!view || view === root.dataset.view) return;
      // What was at the top of the window stays there, if the other view has it.
      const parts = [...article.querySelectorAll("h1, h2, h3, p, .cell_output, table")];
      const seen = parts.map((part) => [part, part.getBoundingClientRect()])
        .filter(([, box]) => box.height && box.bottom > 60 && box.top < innerHeight);
      article.querySelectorAll("[data-shown]").forEach((part) => { delete part.dataset.shown; });
      write(view);
      press();
      const stays = seen.find(([part]) => part.getClientRects().length);
      if (stays) scrollBy({ top: stays[0].getBoundingClientRect().top - stays[1].top, behavior: "instant" });
      dispatchEvent(new Event("resize")); // viewers that were hidden take their size
    });
    press();
    header.append(group);

    const steps = document.querySelector(".look-path ol"), sidebar = document.querySelector(".bd-links");
    if (steps && sidebar) {
      const path = document.createElement("div");
      path.className = "look-view look-steps";
      path.append(Object.assign(document.createElement("p"), { className: "caption", textContent: "The path of Look" }));
      steps.hidden = false;
      path.append(steps);
      sidebar.prepend(path);
    }
  });
})();

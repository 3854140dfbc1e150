// What scrolls sideways on this screen (tables, long formulas, code) can be reached and scrolled by keys.
(() => {
  const mark = () => {
    for (const part of document.querySelectorAll(".bd-content :is(table, mjx-container, pre, .cell_output, .math)")) {
      const scrolls = /auto|scroll/.test(getComputedStyle(part).overflowX) && part.scrollWidth > part.clientWidth;
      if (scrolls) part.tabIndex = 0;
      else if (part.tabIndex === 0) part.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", () => {
    mark();
    window.MathJax?.startup?.promise?.then(mark);
  });
  window.addEventListener("resize", mark);
})();

// A widget of another page (widgets/on_click.py): nothing of it is loaded before the click.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-widget]");
  if (!button || button.disabled) return;
  const name = button.dataset.widget, figure = button.closest(".on-click"), script = document.createElement("script");
  const words = button.textContent;
  button.disabled = true;
  button.textContent = "Loading …";
  script.src = button.dataset.loads.split(" ")[0];
  script.onload = () => {
    const widget = document.createRange().createContextualFragment(window.widgetsOnClick[name]); // its scripts run
    figure.replaceChildren(widget);
    const group = document.getElementById(name);
    group.tabIndex = -1; // who pressed the button goes on in the widget
    group.focus({ preventScroll: true });
  };
  script.onerror = () => {
    button.disabled = false;
    button.textContent = `${words} (a file is missing: keep the folder _assets beside this page)`;
  };
  document.head.append(script);
});

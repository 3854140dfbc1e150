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

// Starts the game of a page or of a notebook's output.
const startGame = (name, game) => {
  const root = document.querySelector(`.dl-survey[data-game=${name}]:not([data-started])`);
  if (!root) return requestAnimationFrame(() => startGame(name, game)); // JupyterLab runs scripts before it shows an output
  root.dataset.started = "";
  game(root, JSON.parse(root.querySelector("[data-part=settings]").textContent));
};

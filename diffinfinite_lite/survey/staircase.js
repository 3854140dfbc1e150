// An adaptive staircase over levels 0 (easy) to `top` (hard), and the curve that is fitted to what it collected.
//
// Up and down are weighted (Kaernbach 1991): one level harder after a right answer, three easier after a wrong one. The walk
// stands still on average where the share p of right answers makes p * 1 = (1 - p) * 3, which is p = 75%.
const EASIER = 3;
const nextLevel = (level, right, top) => right ? Math.min(top, level + 1) : Math.max(0, level - EASIER);

// The share of right answers at level x falls from 1 - LAPSE to one half as a logistic curve of width `width`; it is 75% at
// x = t. LAPSE is for mistakes that have nothing to do with the picture.
const LAPSE = 0.02, HALF = Math.log((0.25 / (0.5 - LAPSE)) / (1 - 0.25 / (0.5 - LAPSE)));
const shareRight = (x, t, width) => 0.5 + (0.5 - LAPSE) / (1 + Math.exp((x - t) / width - HALF));

// Bayes on a grid, all thresholds from BEYOND below the first level to BEYOND above the last and all widths equally likely
// before. Trials: [{ level, right }]. The threshold is the median of what is likely after them, `low` to `high` hold 95%.
const BEYOND = 3, WIDTHS = [0.4, 0.6, 0.9, 1.3, 2, 3];
const quantile = (pairs, share) => { // of [value, weight] sorted by value, the weights add up to 1
  let sum = 0;
  for (const [value, weight] of pairs) {
    sum += weight;
    if (sum >= share) return value;
  }
  return pairs.at(-1)[0];
};
const fitCurve = (trials, top) => {
  const grid = [];
  for (let t = -BEYOND; t <= top + BEYOND + 1e-9; t += 0.1) for (const width of WIDTHS) {
    let log = 0;
    for (const { level, right } of trials) {
      const p = shareRight(level, t, width);
      log += Math.log(right ? p : 1 - p);
    }
    grid.push({ t, width, log });
  }
  const most = Math.max(...grid.map((point) => point.log)), total = grid.reduce((sum, point) => sum + Math.exp(point.log - most), 0);
  const weight = (point) => Math.exp(point.log - most) / total;
  const thresholds = grid.map((point) => [point.t, weight(point)]); // sorted already
  const curve = [];
  for (let x = 0; x <= top + 1e-9; x += 0.25) {
    const shares = grid.map((point) => [shareRight(x, point.t, point.width), weight(point)]);
    const mean = shares.reduce((sum, [p, w]) => sum + p * w, 0);
    shares.sort((a, b) => a[0] - b[0]);
    curve.push({ x, share: mean, low: quantile(shares, 0.025), high: quantile(shares, 0.975) });
  }
  return { threshold: quantile(thresholds, 0.5), low: quantile(thresholds, 0.025), high: quantile(thresholds, 0.975), curve };
};

// The library's sampling in a browser: noise by place, schedule, windows, guidance and DPM-Solver++, as in
// diffinfinite_lite/sampling and in its words. Latents lie channel by channel, row by row, in Float32Array. The tests
// compare each part, and the picture that comes out, with Python.
"use strict";
const Sampler = (() => {
  const BLOCK = 64; // noise.BLOCK
  const T = 1000; // training timesteps
  const PROMPTS = ["none", "adenocarcinoma", "squamous", "normal"], LABELS = 6; // labels.py
  const single = Math.fround;

  // ---- noise.py -------------------------------------------------------------------------------------------------

  const WORD = (1n << 64n) - 1n;

  // Philox 4x64 with ten rounds (Salmon et al. 2011), as numpy.random.Philox: 32-bit words from a counter and a key.
  function philox(key, counter) {
    const words = [];
    const low = (a) => Number(a & 0xffffffffn), high = (a) => Number(a >> 32n);
    function refill() {
      for (let place = 0; place < 4; place++) { // count on, with carry
        counter[place] = (counter[place] + 1n) & WORD;
        if (counter[place]) break;
      }
      let [a, b, c, d] = counter, [k, l] = key;
      for (let round = 0; round < 10; round++) {
        const p = 0xd2e7470ee14c6c93n * a, q = 0xca5a826395121157n * c;
        [a, b, c, d] = [(q >> 64n) ^ b ^ k, q & WORD, (p >> 64n) ^ d ^ l, p & WORD];
        k = (k + 0x9e3779b97f4a7c15n) & WORD;
        l = (l + 0xbb67ae8584caa73bn) & WORD;
      }
      for (const word of [d, c, b, a]) words.push(high(word), low(word)); // popped from the end
    }
    return () => {
      if (!words.length) refill();
      return words.pop();
    };
  }

  // Marsaglia and Tsang's ziggurat of 256 layers of equal area under exp(-x^2 / 2), in numpy's single precision:
  // x = width * r, inside the layer for all r below `sure`.
  const TAIL = 3.6541528853610088, AREA = 0.00492867323399;
  const ziggurat = (() => {
    const f = (x) => Math.exp(-0.5 * x * x), scale = 2 ** 23;
    const width = new Float32Array(256), height = new Float32Array(256), sure = new Uint32Array(256);
    let x = TAIL;
    sure[0] = (TAIL * f(TAIL) / AREA) * scale;
    [width[0], height[0]] = [AREA / f(TAIL) / scale, 1];
    [width[255], height[255]] = [TAIL / scale, f(TAIL)];
    for (let layer = 254; layer > 0; layer--) {
      const inner = Math.sqrt(-2 * Math.log(AREA / x + f(x)));
      sure[layer + 1] = (inner / x) * scale;
      [width[layer], height[layer]] = [inner / scale, f(inner)];
      x = inner;
    }
    return { width, height, sure };
  })();

  function gaussian(next) {
    const uniform = () => (next() >>> 8) / 2 ** 24;
    const minusLog = () => single(-Math.log1p(-uniform()));
    for (;;) {
      const bits = next(), layer = bits & 0xff, r = bits >>> 9;
      const x = single(r * ziggurat.width[layer]), signed = (value) => (bits & 0x100 ? -value : value);
      if (r < ziggurat.sure[layer]) return signed(x);
      if (layer) {
        const under = ziggurat.height[layer];
        const y = single(single(single(ziggurat.height[layer - 1] - under) * uniform()) + under);
        if (y < Math.exp(-0.5 * x * x)) return signed(x);
      } else {
        for (;;) { // beyond the last layer; its sign is another bit
          const beyond = single(single(1 / TAIL) * minusLog()), y = minusLog();
          if (single(y + y) > single(beyond * beyond)) return (r >>> 8) & 1 ? -single(TAIL + beyond) : single(TAIL + beyond);
        }
      }
    }
  }

  // noise.coordinate_noise of a canvas, from its top left corner.
  function coordinateNoise(seed, stream, channels, rows, columns) {
    const noise = new Float32Array(channels * rows * columns);
    for (let top = 0; top < rows; top += BLOCK) {
      for (let left = 0; left < columns; left += BLOCK) {
        const place = [0n, 0n, BigInt(top / BLOCK), BigInt(left / BLOCK)];
        const next = philox([BigInt(seed), BigInt(stream)], place);
        for (let channel = 0; channel < channels; channel++) {
          for (let row = top; row < top + BLOCK; row++) {
            for (let column = left; column < left + BLOCK; column++) {
              const value = gaussian(next); // drawn also where it is outside, since what follows depends on it
              if (row < rows && column < columns) noise[(channel * rows + row) * columns + column] = value;
            }
          }
        }
      }
    }
    return noise;
  }

  // ---- solvers.py -----------------------------------------------------------------------------------------------

  const alphasCumprod = (() => { // solvers.cosine_alphas
    const cosine = (share) => Math.cos(((share + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    let product = 1;
    return Float64Array.from({ length: T }, (_, t) => {
      const beta = single(Math.min(1 - cosine((t + 1) / T) / cosine(t / T), 0.999));
      return (product *= single(1 - beta));
    });
  })();

  function roundHalfEven(x) { // Python's round
    const below = Math.floor(x);
    return x - below === 0.5 ? below + (below % 2) : Math.round(x);
  }

  const trailingTimesteps = (steps) => Array.from({ length: steps }, (_, k) => roundHalfEven((T * (steps - k)) / steps) - 1);

  // solvers.DpmSolver: factors of a step, z_next = keep * z + clean[0] * this estimate + clean[1] * the last one.
  function dpmSolver(steps) {
    const timesteps = trailingTimesteps(steps);
    const alphas = [...timesteps.map((t) => alphasCumprod[t]), 1];
    const logRatio = (alpha) => Math.log(Math.sqrt(alpha / (1 - alpha))); // infinite at the end
    const levels = timesteps.map((t, level) => {
      const [alpha, next] = [alphas[level], alphas[level + 1]];
      const h = logRatio(next) - logRatio(alpha), towards = -Math.sqrt(next) * Math.expm1(-h);
      const keep = Math.sqrt((1 - next) / (1 - alpha));
      if (level === 0 || level === steps - 1) return { t, alpha, keep, clean: [towards, 0] }; // of first order
      const slope = (0.5 * h) / (logRatio(alpha) - logRatio(alphas[level - 1]));
      return { t, alpha, keep, clean: [towards * (1 + slope), -towards * slope] };
    });
    return levels;
  }

  // ---- plans.py, mixture ----------------------------------------------------------------------------------------

  const hann = (n) => Array.from({ length: n }, (_, k) => Math.sin((Math.PI * (k + 0.5)) / n) ** 2);

  // Windows along an axis: evenly spread, at most three quarters of a patch from each other; weights add up to 1.
  function axis(n, patch) {
    const last = n - patch, count = Math.ceil(last / Math.floor(0.75 * patch)) + 1, profile = hann(patch);
    const starts = Array.from({ length: count }, (_, k) => Math.floor((k * last) / Math.max(count - 1, 1)));
    const total = new Float64Array(n);
    for (const start of starts) profile.forEach((weight, k) => { total[start + k] += weight; });
    return starts.map((start) => ({ start, weight: profile.map((weight, k) => weight / total[start + k]) }));
  }

  function windows(rows, columns, patch) {
    const across = axis(columns, patch);
    return axis(rows, patch).flatMap((down) => across.map((right) => ({
      top: down.start, left: right.start, weight: (row, column) => down.weight[row] * right.weight[column],
    })));
  }

  // ---- labels.py ------------------------------------------------------------------------------------------------

  // labels.condition_map of a mask that has one label a latent pixel.
  function conditionMap(labels, context) {
    const prompt = PROMPTS.indexOf(context);
    return Int32Array.from(labels, (label) => (label > 0 ? label + LABELS * prompt : 0));
  }

  // ---- pipelines/margin.py --------------------------------------------------------------------------------------

  // Labels of a square continued on all sides by their mirror image.
  function mirrored(labels, side, margin) {
    const whole = side + 2 * margin, from = (k) => (k < 0 ? -1 - k : k < side ? k : 2 * side - 1 - k);
    return labels.constructor.from({ length: whole * whole }, (_, i) =>
      labels[from(Math.floor(i / whole) - margin) * side + from((i % whole) - margin)]);
  }

  // ---- beside.py and stages.py: what a network reads beside its latents ---------------------------------------------

  // Numbers that are the same at all of so many pixels, channel by channel.
  const everywhere = (numbers, area) => Float32Array.from({ length: numbers.length * area }, (_, i) => numbers[Math.floor(i / area)]);

  // A finished draft with its noise, and a channel that says how much that is.
  function underDraft(draft, seed, level, rows, columns) {
    const channels = draft.length / (rows * columns);
    const noise = coordinateNoise(BigInt(seed) ^ (1n << 61n), 0, channels, rows, columns);
    const seen = new Float32Array(draft.length + rows * columns).fill(level);
    seen.set(draft.map((value, i) => value + single(level) * noise[i]));
    return seen;
  }

  const noDraft = (channels, area) => everywhere(Array(channels + 1).fill(-1), area);

  // A draft begins as other noise than the picture, and in each context as another one.
  const draftSeed = (seed, context) => BigInt(seed) ^ (1n << 62n) ^ (BigInt(PROMPTS.indexOf(context)) << 56n);

  // ---- loop.py --------------------------------------------------------------------------------------------------

  // Values of a window, channel by channel, out of a canvas.
  function crop(values, size, window, patch) {
    const channels = values.length / (size.rows * size.columns);
    const out = new values.constructor(channels * patch * patch);
    for (let channel = 0, to = 0; channel < channels; channel++) {
      for (let row = 0; row < patch; row++, to += patch) {
        const from = (channel * size.rows + window.top + row) * size.columns + window.left;
        out.set(values.subarray(from, from + patch), to);
      }
    }
    return out;
  }

  // denoiser.Denoiser on one window: eq. 2 on velocities, then the noise that the velocity means, with the gain.
  async function estimate(evaluate, z, beside, level, labels, { omega, gain }, window) {
    const labelled = labels.some((label) => label > 0), seen = new Float32Array(z.length + beside.length);
    seen.set(z);
    seen.set(beside, z.length);
    const calls = [];
    if (labelled) calls.push(evaluate(seen, level.t, labels, window));
    if (omega > 0 || !labelled) calls.push(evaluate(seen, level.t, new Int32Array(labels.length), window));
    const [velocity, empty] = await Promise.all(calls);
    const [signal, sigma] = [Math.sqrt(level.alpha), Math.sqrt(1 - level.alpha)];
    return velocity.map((value, i) => {
      const guided = empty ? (1 + omega) * value - omega * empty[i] : value;
      const noise = signal * guided + sigma * z[i];
      return noise - (gain - 1) * (z[i] / sigma - noise);
    });
  }

  // Samples a canvas (sampling.sample with the plan mixture and DPM-Solver++).
  //
  // labels: one label a latent pixel, row by row. settings: { rows, columns, channels, patch, gain, context, seed, steps,
  // omega, beside }, the last one the channels that the network reads beside its latents, if it does. evaluate(z, t,
  // conditions, window): a promise of the network's answer for one window, these channels included. added(window): told
  // of every window whose estimate is complete. Yields { level, t, clean, z }: the estimate of the clean
  // latents that a level was stepped with, and the state after it. It stops where `evaluate` rejects.
  async function* sample(labels, settings, evaluate, added = () => {}) {
    const { rows, columns, channels, patch, context, seed, steps, beside = new Float32Array(0) } = settings;
    const size = { rows, columns }, area = rows * columns;
    const conditions = conditionMap(labels, context);
    const plan = windows(rows, columns, patch);
    let z = coordinateNoise(seed, 0, channels, rows, columns), before = null;
    for (const [number, level] of dpmSolver(steps).entries()) {
      const noise = new Float32Array(z.length);
      await Promise.all(plan.map(async (window) => {
        const [latents, more, told] = [z, beside, conditions].map((values) => crop(values, size, window, patch));
        const found = await estimate(evaluate, latents, more, level, told, settings, window);
        for (let i = 0; i < found.length; i++) {
          const column = i % patch, row = Math.floor(i / patch) % patch, channel = Math.floor(i / (patch * patch));
          noise[channel * area + (window.top + row) * columns + window.left + column] += window.weight(row, column) * found[i];
        }
        added(window);
      }));
      const [signal, sigma] = [Math.sqrt(level.alpha), Math.sqrt(1 - level.alpha)];
      const clean = z.map((value, i) => (value - sigma * noise[i]) / signal), last = before;
      z = z.map((value, i) => level.keep * value + level.clean[0] * clean[i] + (last ? level.clean[1] * last[i] : 0));
      before = clean;
      yield { level: number, t: level.t, clean, z };
    }
  }

  return {
    alphasCumprod, conditionMap, coordinateNoise, dpmSolver, draftSeed, everywhere, mirrored, noDraft, sample, trailingTimesteps,
    underDraft, windows,
  };
})();

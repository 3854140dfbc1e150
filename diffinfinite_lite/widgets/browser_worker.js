// One worker of the page: opens the networks with onnxruntime-web and answers for them, a message at a time.
"use strict";
let ort; // onnxruntime-web
const networks = {}; // by name: image, decoder and, of a model of two stages, draft

const tasks = {
  // code: onnxruntime-web as a module; machineCode: its WebAssembly; graphs: in ONNX, by name; bytes, all of them.
  async open({ code, machineCode, graphs, provider }) {
    ort = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    ort.env.wasm.numThreads = 1; // threads need headers of the server; the page has several workers instead
    ort.env.wasm.wasmBinary = machineCode;
    for (const [name, graph] of Object.entries(graphs)) {
      networks[name] = await ort.InferenceSession.create(graph, { executionProviders: [provider] });
    }
  },

  // Velocity of one window under conditions by a network, Float32Array like the latents in z.
  async evaluate({ network, z, t, conditions }) {
    const side = Math.sqrt(conditions.length), channels = z.length / conditions.length;
    const found = await networks[network].run({
      z: new ort.Tensor("float32", z, [1, channels, side, side]),
      t: new ort.Tensor("int64", BigInt64Array.of(BigInt(t)), [1]),
      condition: new ort.Tensor("int64", BigInt64Array.from(conditions, BigInt), [1, side, side]),
    });
    return found.output.data;
  },

  // Pixels of latents as bytes: red, green, blue, opaque.
  async decode({ z, rows, columns }) {
    const { output } = await networks.decoder.run({ z: new ort.Tensor("float32", z, [1, z.length / (rows * columns), rows, columns]) });
    const area = output.data.length / 3, pixels = new Uint8ClampedArray(4 * area).fill(255);
    for (let channel = 0; channel < 3; channel++) {
      for (let i = 0; i < area; i++) pixels[4 * i + channel] = (output.data[channel * area + i] + 1) * 127.5; // rounds
    }
    return pixels;
  },
};

onmessage = async ({ data: { task, ...message } }) => {
  try {
    postMessage({ value: await tasks[task](message) });
  } catch (error) {
    postMessage({ error: error.message ?? String(error) }); // WebAssembly throws numbers, too
  }
};

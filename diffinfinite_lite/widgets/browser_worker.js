// One worker of the page: opens the networks with onnxruntime-web and answers for them, a message at a time.
"use strict";
let networks; // { ort, image, decoder }

const tasks = {
  // code: onnxruntime-web as a module; machineCode: its WebAssembly; image, decoder: ONNX graphs; bytes, all of them.
  async open({ code, machineCode, image, decoder, provider }) {
    const ort = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    ort.env.wasm.numThreads = 1; // threads need headers of the server; the page has several workers instead
    ort.env.wasm.wasmBinary = machineCode;
    const options = { executionProviders: [provider] };
    networks = {
      ort,
      image: await ort.InferenceSession.create(image, options),
      decoder: await ort.InferenceSession.create(decoder, options),
    };
  },

  // Velocity of one window under conditions, Float32Array like z.
  async evaluate({ z, t, conditions }) {
    const { ort, image } = networks, side = Math.sqrt(conditions.length), channels = z.length / conditions.length;
    const found = await image.run({
      z: new ort.Tensor("float32", z, [1, channels, side, side]),
      t: new ort.Tensor("int64", BigInt64Array.of(BigInt(t)), [1]),
      condition: new ort.Tensor("int64", BigInt64Array.from(conditions, BigInt), [1, side, side]),
    });
    return found.output.data;
  },

  // Pixels of latents as bytes: red, green, blue, opaque.
  async decode({ z, rows, columns }) {
    const { ort, decoder } = networks;
    const { output } = await decoder.run({ z: new ort.Tensor("float32", z, [1, z.length / (rows * columns), rows, columns]) });
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

// For browser.py: how many texts a second an encoder embeds, in Node or in a page.

/** Texts of a second, after one turn to compile and to fill caches, as in a page that has run for a while. */
export async function rate(encode, address, seconds) {
  const { default: texts } = await import(address, { with: { type: "json" } });
  await encode(texts);
  const start = performance.now();
  let n = 0;
  for (; performance.now() - start < seconds * 1000; n += texts.length) await encode(texts);
  return (n / (performance.now() - start)) * 1000;
}

export async function millstream(module, model) {
  const { Encoder } = await import(module);
  const encoder = await Encoder.load(model);
  return (texts) => encoder.encode(texts);
}

/** The teacher in transformers.js: in Node with ONNX Runtime itself, in a page with its WebAssembly. */
export async function transformers(module, models, wasm) {
  const { pipeline, env } = await import(module);
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: models });
  Object.assign(env.backends.onnx.wasm ?? {}, { numThreads: 1, ...(wasm && { wasmPaths: wasm }) });
  const sessions = { intraOpNumThreads: 1, interOpNumThreads: 1 };
  const device = wasm ? "wasm" : "cpu";
  const embed = await pipeline("feature-extraction", "teacher", { dtype: "fp32", device, session_options: sessions });
  return async (texts) => {
    for (let k = 0; k < texts.length; k += 32) await embed(texts.slice(k, k + 32), { pooling: "mean", normalize: true });
  };
}

// For the tests: load models and encode texts with millstream.js, as told by a file of jobs, and write what comes out.
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

const [module, jobs, results] = process.argv.slice(2);
const { Encoder } = await import(module);

const { WebAssembly } = globalThis;

async function done({ source, options, texts = [], webAssembly = true }) {
  globalThis.WebAssembly = webAssembly ? WebAssembly : undefined;
  try {
    const encoder = await Encoder.load(source, options);
    return {
      dim: encoder.dim,
      webAssembly: Object.hasOwn(encoder.table, "add"),
      ids: texts.map((text) => encoder.tokenize(text ?? "")),
      vectors: Buffer.from(encoder.encode(texts).buffer).toString("base64"),
      scores: encoder.score(texts),
      explained: texts.slice(0, 3).map((text) => encoder.explain(text ?? "")),
    };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}

const found = [];
for (const job of JSON.parse(readFileSync(jobs, "utf8"))) found.push(await done(job));
writeFileSync(results, JSON.stringify(found));

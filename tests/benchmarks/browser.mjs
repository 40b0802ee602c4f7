// For browser.py: encode the texts of a file again and again; print how many texts a second.
import { readFileSync } from "node:fs";

const [module, folder, file, seconds] = process.argv.slice(2);
const { Encoder } = await import(module);
const encoder = await Encoder.load(folder);
const texts = JSON.parse(readFileSync(file, "utf8"));
encoder.encode(texts); // compile, and fill the cache of words, as in a page that has run for a while
const start = performance.now();
let n = 0;
while (performance.now() - start < seconds * 1000) n += encoder.encode(texts).length / encoder.dim;
console.log((n / (performance.now() - start)) * 1000);

/** The demonstration page: texts of a file on a map, searched by meaning, in groups. All of it happens in the page. */

import { Encoder } from "./millstream.js";
import { components, cosines, groups, project } from "./vectors.js";
import { records, textFields } from "./records.js";

const MOST_TEXTS = 50_000;
const AT_ONCE = 2_000; // texts that are embedded between two looks at the page
const N_HITS = 10;
const COLOURS = ["#3b7dd8", "#e07b39", "#3a9a5b", "#c2475a", "#8a63c9", "#9a7b2f", "#d46fb3", "#5a6b7d", "#2aa7a7", "#b0b02a"];

const at = (id) => document.getElementById(id);
const pause = () => new Promise((resolve) => setTimeout(resolve));
const state = { rows: [], texts: [], vectors: new Float32Array(), places: [], group: [], hits: new Set(), chosen: -1, run: 0 };
let encoder;

try {
  const { name, heads } = await (await fetch("model.json")).json();
  encoder = await Encoder.load(new URL("model/", location), { heads });
  const tokens = encoder.tokenizer.tokens.length.toLocaleString();
  at("model").textContent = `${name}: ${encoder.dim} dimensions, ${tokens} tokens`;
  at("file").disabled = false;
} catch (error) {
  at("model").textContent = `The model does not load: ${error.message}`;
}

at("file").addEventListener("change", ({ target }) => target.files[0] && open(target.files[0]));
at("field").addEventListener("change", embed);
at("groups").addEventListener("change", regroup);
at("query").addEventListener("input", search);
at("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (encoder && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});
at("map").addEventListener("pointermove", ({ offsetX, offsetY }) => choose(nearest(offsetX, offsetY)));
at("map").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step || !state.texts.length) return;
  event.preventDefault();
  choose((state.chosen + step + state.texts.length) % state.texts.length);
});
new ResizeObserver(draw).observe(at("map"));

async function open(file) {
  try {
    state.rows = records(await file.text(), file.name).slice(0, MOST_TEXTS);
    const fields = textFields(state.rows);
    at("field").replaceChildren(...fields.map((field) => new Option(field)));
    at("fields").hidden = false;
    await embed();
  } catch (error) {
    at("progress").textContent = `${file.name}: ${error.message}`;
  }
}

async function embed() {
  const run = ++state.run; // a newer choice ends this one
  const field = at("field").value;
  const texts = state.rows.map((row) => row[field]).filter((text) => typeof text === "string" && text.trim());
  const vectors = new Float32Array(texts.length * encoder.dim);
  for (let done = 0; done < texts.length; done += AT_ONCE) {
    vectors.set(encoder.encode(texts.slice(done, done + AT_ONCE)), done * encoder.dim);
    at("progress").textContent = `${done.toLocaleString()} of ${texts.length.toLocaleString()} texts`;
    await pause();
    if (run !== state.run) return;
  }
  const axes = components(vectors, encoder.dim);
  Object.assign(state, { texts, vectors, places: project(vectors, axes), hits: new Set(), chosen: -1 });
  at("progress").textContent = `${texts.length.toLocaleString()} texts`;
  at("found").hidden = at("view").hidden = false;
  regroup();
  search();
}

function regroup() {
  const n = Math.min(Math.max(Number(at("groups").value) || 2, 2), 20);
  const { assigned, names } = groups(state.vectors, encoder.dim, state.texts, n);
  state.group = assigned;
  at("legend").replaceChildren(
    ...names.map(({ words, size }, k) => item(words.join(", ") || "(no words)", size.toLocaleString(), colour(k))),
  );
  draw();
}

function search() {
  const query = at("query").value.trim();
  const found = query ? cosines(state.vectors, encoder.encode(query)) : [];
  const order = Array.from(found.keys()).sort((a, b) => found[b] - found[a]);
  const best = new Map(); // text → its rows, since texts repeat
  for (const k of order) {
    const text = state.texts[k];
    if (best.has(text)) best.get(text).push(k);
    else if (best.size < N_HITS) best.set(text, [k]);
    else break;
  }
  state.hits = new Set([...best.values()].flat());
  at("hits").replaceChildren(
    ...[...best].map(([text, rows]) => item(rows[1] ? `${text} (${rows.length} ×)` : text, found[rows[0]].toFixed(2))),
  );
  at("scores").textContent = query ? described(encoder.score(query)) : "";
  draw();
}

function described(scores) {
  const short = (value) => (typeof value === "number" ? value.toFixed(2) : String(value));
  return Object.entries(scores)
    .map(([name, [score]]) => `${name}: ${Object.values(score).map(short).join(", ")}`)
    .join("; ");
}

function item(text, share, dot) {
  const [line, body, number] = ["li", "span", "span"].map((kind) => document.createElement(kind));
  body.textContent = text;
  if (dot) {
    const mark = Object.assign(document.createElement("span"), { className: "dot" });
    mark.style.background = dot;
    body.prepend(mark);
  }
  Object.assign(number, { textContent: share, className: "share" });
  line.append(body, number);
  return line;
}

const colour = (k) => COLOURS[k % COLOURS.length];

function spot(k, width, height) {
  const [x, y] = state.places[k];
  return [12 + x * (width - 24), 12 + y * (height - 24)];
}

function nearest(x, y) {
  const { clientWidth: width, clientHeight: height } = at("map");
  let [best, least] = [-1, 400];
  for (let k = 0; k < state.places.length; k++) {
    const [px, py] = spot(k, width, height);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [k, distance];
  }
  return best;
}

function choose(k) {
  if (k === state.chosen) return;
  state.chosen = k;
  at("point").textContent = k < 0 ? "" : state.texts[k];
  draw();
}

function draw() {
  const canvas = at("map");
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  canvas.setAttribute("aria-label", `${state.texts.length} texts on a map; near points mean similar things`);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const dot = (k, radius) => {
    pen.beginPath();
    pen.arc(...spot(k, width, height), radius, 0, 2 * Math.PI);
    pen.fill();
  };
  pen.globalAlpha = state.hits.size ? 0.25 : 0.7;
  for (let k = 0; k < state.places.length; k++) {
    pen.fillStyle = colour(state.group[k]);
    dot(k, 2.5);
  }
  pen.globalAlpha = 1;
  pen.fillStyle = getComputedStyle(canvas).color;
  for (const k of state.hits) dot(k, 4.5);
  if (state.chosen >= 0) dot(state.chosen, 6);
}

// The box to try the model in: tokens, nearest points of the map, scores of heads. Above stand millstream.js, of which
// this uses Encoder, and vectors.js, of which it uses cosines. Texts are set as text, never as markup.
const N_NEAREST = 8;
const MODEL_FILES = /^(config\.json|tokenizer\.json|model\.safetensors|heads\/[^/]+\.safetensors)$/;

const at = (id) => document.getElementById(id);
const { points } = JSON.parse(at("data").textContent);
const hasTexts = Boolean(points?.[0]?.t);
let encoder, vectors, loading;

at("try").addEventListener("focus", start);
at("try").addEventListener("input", start);
at("folder").addEventListener("change", ({ target }) => load(chosen(target.files)));

/** Load the model when it is first wanted: from the page, or from beside it. A page that is a file may not read others. */
function start() {
  if (encoder) return show();
  const parts = [...document.querySelectorAll("script.model")];
  if (parts.length) return (loading ??= load(new Map(parts.map((part) => [part.dataset.path, () => decoded(part)]))));
  if (location.protocol === "file:") return ask("The model is not in this page. Choose its folder:");
  return (loading ??= load());
}

async function load(files) {
  at("state").textContent = "Loading the model…";
  await new Promise((resolve) => setTimeout(resolve)); // so that this is seen
  try {
    encoder = await (files ? fromFiles(files) : Encoder.load(new URL(".", location.href), { heads: headNames() }));
    if (hasTexts) vectors = encoder.encode(points.map((point) => point.t), { normalize: true });
    at("choose").hidden = true;
    show();
  } catch (error) {
    loading = undefined;
    ask(`The model does not load: ${error.message}. Choose its folder:`);
  }
}

function ask(why) {
  at("state").textContent = why;
  at("choose").hidden = false;
}

async function fromFiles(files) {
  const model = {};
  for (const [path, read] of files) if (MODEL_FILES.test(path)) model[path] = await read();
  return Encoder.load(model, { heads: headNames().filter((name) => `heads/${name}.safetensors` in model) });
}

/** The files of a folder by their paths in it. */
function chosen(files) {
  const read = (file) => async () => new Uint8Array(await file.arrayBuffer());
  return new Map(Array.from(files, (file) => [file.webkitRelativePath.replace(/^[^/]*\//, ""), read(file)]));
}

function decoded(part) {
  const text = atob(part.textContent);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return bytes;
}

const headNames = () =>
  Array.from(document.querySelectorAll("#heads tbody tr"), ({ cells: [name, kind] }) => [name, kind].map((cell) => cell.textContent))
    .filter(([, kind]) => ["classifier", "prototypes", "novelty"].includes(kind))
    .map(([name]) => name);

function show() {
  const text = at("try").value;
  const tokens = encoder.explain(text);
  const weights = tokens.map(({ weight }) => weight);
  const [total, heaviest] = [weights.reduce((sum, weight) => sum + weight, 0), Math.max(...weights)].map((n) => n || 1);
  at("tokens").replaceChildren(...tokens.map(({ token, weight }) => {
    const item = row(token, `${Math.round((100 * weight) / total)} %`);
    item.style.setProperty("--weight", `${Math.round((60 * weight) / heaviest)}%`);
    return item;
  }));
  const near = tokens.length && hasTexts ? nearest(text) : [];
  at("nearest")?.replaceChildren(...near.map(([k, cosine]) => row(points[k].t, cosine.toFixed(2))));
  mark(near.map(([k]) => k));
  const scores = tokens.length ? Object.entries(encoder.score(text)) : [];
  at("scores").replaceChildren(...scores.map(([name, [score]]) => row(name, described(score))));
  for (const id of ["tokens", "nearest", "scores"]) if (at(id)) at(id).parentElement.hidden = !at(id).childElementCount;
  at("state").textContent = said(tokens, near, scores);
}

/** The points whose texts are nearest, each text once. */
function nearest(text) {
  const found = cosines(vectors, encoder.encode(text, { normalize: true }));
  const order = Array.from(found.keys()).sort((a, b) => found[b] - found[a]);
  const best = new Map();
  for (const k of order) {
    if (!best.has(points[k].t)) best.set(points[k].t, [k, found[k]]);
    if (best.size === N_NEAREST) break;
  }
  return [...best.values()];
}

function mark(near) {
  at("map")?.classList.toggle("asked", near.length > 0);
  at("map")?.querySelectorAll("circle").forEach((circle, k) => circle.classList.toggle("near", near.includes(k)));
}

/** What a screen reader says after each change. */
function said(tokens, near, scores) {
  if (!tokens.length) return at("try").value.trim() ? "The model knows no token of this text." : "The model is loaded.";
  const parts = [`${tokens.length} ${tokens.length === 1 ? "token" : "tokens"}`];
  if (near.length) parts.push(`nearest: ${points[near[0][0]].t}`);
  return [...parts, ...scores.map(([name, [score]]) => `${name}: ${described(score)}`)].join("; ");
}

function described(score) {
  const short = (value) => (typeof value === "number" ? value.toFixed(2) : String(value));
  if ("label" in score) return `${score.label}, ${short(score.score)}`;
  if ("nearest" in score) return `${score.nearest ?? "none"}, ${short(score.similarity)}`;
  if ("novel" in score) return `${score.novel ? "novel" : "normal"}, distance ${short(score.distance)}`;
  return Object.entries(score).map(([label, value]) => `${label} ${short(value)}`).join(", ");
}

function row(text, number) {
  const [item, body, figure] = ["li", "span", "span"].map((kind) => document.createElement(kind));
  body.textContent = text;
  figure.textContent = number;
  item.append(body, figure);
  return item;
}

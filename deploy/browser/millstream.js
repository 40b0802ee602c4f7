/**
 * Static text embeddings in a web page, in Node or in Deno: the models that Millstream and model2vec publish.
 *
 *     const encoder = await Encoder.load("models/minilm/");
 *     const vectors = encoder.encode(["card declined", "payment refused"]); // 2 rows of encoder.dim numbers
 *
 * Token ids equal those of Hugging Face `tokenizers`, whatever Unicode version your JavaScript engine has.
 * millstream.d.ts describes the classes.
 */

export class ModelError extends Error {
  name = "ModelError";
}

export class Encoder {
  /** Load a model from a folder's URL, from the URL of a manifest in a store, or from the files by path. */
  static async load(source, options = {}) {
    const files = await openFiles(source, options);
    const [settings, tokenizer, tensors] = await Promise.all([
      files.json("config.json"),
      files.json("tokenizer.json"),
      readTensors(files, "model.safetensors"),
    ]);
    const encoder = new Encoder(settings, new WordPiece(tokenizer), tensors);
    const names = options.heads ?? files.heads();
    for (const name of names) encoder.heads[name] = await readHead(files, name, encoder.dim);
    return encoder;
  }

  constructor(settings, tokenizer, tensors) {
    const table = tensors.embeddings ?? tensors["embedding.weight"];
    if (settings.masks?.length) throw new ModelError("the model has masks, which do not work here");
    if (table?.shape.length !== 2) throw new ModelError("model.safetensors holds no table of token vectors");
    this.dim = table.shape[1];
    this.heads = {};
    this.normalize = Boolean(settings.normalize);
    this.tokenizer = tokenizer;
    this.table = table.data;
    this.weights = tensors.weights?.data;
    this.mapping = tensors.mapping?.data;
    this.maxTokens = settings.max_length === undefined ? DEFAULT_MAX_LENGTH : settings.max_length ?? Infinity;
    const nTokens = tokenizer.tokens.length;
    const rows = this.mapping ?? { length: table.shape[0] };
    if (rows.length < nTokens || (this.weights?.length ?? nTokens) < nTokens) {
      throw new ModelError(`the tokenizer has ${nTokens} tokens, the table or its weights have fewer`);
    }
    if (this.mapping?.some((row) => row < 0 || row >= table.shape[0])) {
      throw new ModelError("the token mapping of model.safetensors names rows that are not there");
    }
  }

  /** The ids of the tokens whose vectors `encode` averages: without unknown tokens, truncated. */
  tokenize(text) {
    return this.tokenizer.ids(text, this.maxTokens);
  }

  /** The vectors of texts: `dim` numbers for each text, one text after the other. Null and empty texts give zeros. */
  encode(texts) {
    return this.#encode(texts, this.normalize);
  }

  #encode(texts, normalize) {
    const list = Array.isArray(texts) ? texts : [texts];
    const found = new Float32Array(list.length * this.dim);
    const sums = new Float64Array(this.dim);
    for (let row = 0; row < list.length; row++) {
      const text = list[row];
      if (text == null || text === "") continue;
      if (typeof text !== "string") throw new ModelError(`text ${row} is no string: ${typeof text}`);
      const ids = this.tokenize(text);
      if (!ids.length) continue;
      this.#sum(ids, sums);
      const scale = normalize ? 1 / (length(sums) || 1) : 1 / ids.length;
      const start = row * this.dim;
      for (let k = 0; k < sums.length; k++) found[start + k] = sums[k] * scale;
    }
    return found;
  }

  /** The tokens of a text, and how much each adds to its vector: the length of the token's own. */
  explain(text) {
    const sums = new Float64Array(this.dim);
    return this.tokenize(text).map((id) => {
      this.#sum([id], sums);
      return { token: this.tokenizer.tokens[id], weight: length(sums) };
    });
  }

  /** The scores of texts by each head: a list for each head's name. */
  score(texts) {
    const vectors = this.#encode(texts, true);
    return Object.fromEntries(Object.entries(this.heads).map(([name, head]) => [name, head.score(vectors)]));
  }

  /** Add up token vectors, four at a time, which halves the time. */
  #sum(ids, sums) {
    const { table, weights, mapping, dim } = this;
    const start = (i) => (i < ids.length ? (mapping ? mapping[ids[i]] : ids[i]) * dim : 0);
    const weight = (i) => (i < ids.length ? (weights ? weights[ids[i]] : 1) : 0);
    sums.fill(0);
    for (let i = 0; i < ids.length; i += 4) {
      const [a, b, c, d] = [i, i + 1, i + 2, i + 3].map(start);
      const [p, q, r, s] = [i, i + 1, i + 2, i + 3].map(weight);
      for (let k = 0; k < dim; k++) {
        sums[k] += table[a + k] * p + table[b + k] * q + table[c + k] * r + table[d + k] * s;
      }
    }
  }
}

const DEFAULT_MAX_LENGTH = 512; // model2vec's

function length(vector) {
  let square = 0;
  for (let k = 0; k < vector.length; k++) square += vector[k] * vector[k];
  return Math.sqrt(square);
}

const MOST_CACHED_WORDS = 1 << 17;
const [IN_WORD, ALONE, SPLIT] = [0, 1, 2]; // what an ASCII character is

/** BERT's tokenizer (Devlin et al. 2019): its normaliser, its splits, and WordPiece. */
class WordPiece {
  constructor({ model, normalizer, pre_tokenizer: splitter, added_tokens: added = [] }) {
    const kinds = [model, normalizer, splitter].map((part) => part?.type ?? "none");
    if (kinds.join() !== "WordPiece,BertNormalizer,BertPreTokenizer") {
      throw new ModelError(`the tokenizer is ${kinds.join(", ")}: only BERT's WordPiece works here`);
    }
    this.vocabulary = new Map(Object.entries(model.vocab));
    this.prefix = model.continuing_subword_prefix;
    this.maxWordChars = model.max_input_chars_per_word;
    this.unknown = this.vocabulary.get(model.unk_token);
    this.normalizer = normalizer;
    this.tokens = [];
    for (const [token, id] of this.vocabulary) this.tokens[id] = token;
    for (const { id, content } of added) this.tokens[id] = content;
    this.tokenChars = median(new Set([...this.vocabulary.keys(), ...added.map((token) => token.content)]));
    const [raw, normalized] = [false, true].map((kind) => added.filter((token) => token.normalized === kind));
    this.raw = new AddedTokens(raw, (text) => text);
    this.normalized = new AddedTokens(normalized, (text) => this.normalize(text));
    this.words = new Map();
    this.ascii = Uint8Array.from({ length: 128 }, (_, code) => this.#kind(String.fromCharCode(code)));
  }

  /** The ids of a text's first `maxTokens` tokens, without the unknown ones among them. */
  ids(text, maxTokens) {
    const cut = firstChars(text, maxTokens * this.tokenChars); // as model2vec does
    const out = { ids: [], left: maxTokens };
    for (const part of this.raw.split(cut)) {
      if (typeof part === "number") this.#add([part], out);
      else if (!this.normalized.size) this.#tokenize(part, out);
      else {
        for (const inner of this.normalized.split(this.normalize(part))) {
          this.#add(typeof inner === "number" ? [inner] : this.#pieces(inner), out);
        }
      }
    }
    return out.ids;
  }

  /** Split a text at ASCII white space and punctuation, and look each word up before it is normalised. */
  #tokenize(text, out) {
    for (let i = 0, start = 0; i <= text.length && out.left > 0; i++) {
      const kind = i < text.length ? (this.ascii[text.charCodeAt(i)] ?? IN_WORD) : SPLIT;
      if (kind === IN_WORD) continue;
      if (start < i) this.#word(text.slice(start, i), out);
      if (kind === ALONE) this.#word(text[i], out);
      start = i + 1;
    }
  }

  #word(word, out) {
    let ids = this.words.get(word);
    if (!ids) {
      ids = this.#pieces(this.normalize(word));
      if (this.words.size < MOST_CACHED_WORDS) this.words.set(word, ids);
    }
    this.#add(ids, out);
  }

  #add(ids, out) {
    for (let k = 0; k < ids.length; k++) if (out.left-- > 0 && ids[k] !== this.unknown) out.ids.push(ids[k]);
  }

  normalize(text) {
    const { clean_text: clean, handle_chinese_chars: chinese, strip_accents: strip, lowercase } = this.normalizer;
    let found = text.replace(SURROGATES, "\ufffd");
    if (clean) found = found.replace(REMOVED, "").replace(SPACES, " ");
    if (chinese) found = found.replace(CHINESE, " $& ");
    if (strip ?? lowercase) found = found.replace(DECOMPOSED, (run) => run.normalize("NFD")).replace(ACCENTS, "");
    return lowercase ? found.replace(CAPITALS, (char) => LOWER.get(char) ?? char.toLowerCase()) : found;
  }

  #kind(char) {
    const [word] = this.normalize(char).match(WORDS) ?? [];
    return word === undefined && this.normalize(char) !== "" ? SPLIT : PUNCTUATION.test(word ?? "") ? ALONE : IN_WORD;
  }

  /** The ids of a normalised text's words: of each, the longest token that it starts with, and so on. */
  #pieces(text) {
    const ids = [];
    for (const [word] of text.matchAll(WORDS)) {
      const chars = Array.from(word);
      const begin = ids.length;
      for (let start = 0, end; start < chars.length; start = end) {
        let id;
        for (end = chars.length > this.maxWordChars ? start : chars.length; end > start; end--) {
          id = this.vocabulary.get((start ? this.prefix : "") + chars.slice(start, end).join(""));
          if (id !== undefined) break;
        }
        if (id === undefined) {
          ids.length = begin;
          ids.push(this.unknown);
          break;
        }
        ids.push(id);
      }
    }
    return ids;
  }
}

/** Tokens that are found in a text before it is split, such as `[SEP]`. */
class AddedTokens {
  constructor(tokens, normalize) {
    this.of = new Map(tokens.map((token) => [normalize(token.content), token]));
    this.size = this.of.size;
    const longestFirst = [...this.of.keys()].sort((a, b) => b.length - a.length);
    this.pattern = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "gu");
  }

  /** The text's parts: the ids of these tokens, and the texts between them. */
  split(text) {
    if (!this.size || text.search(this.pattern) < 0) return [text];
    const parts = [];
    let done = 0;
    for (const { 0: content, index } of text.matchAll(this.pattern)) {
      const { id, single_word: alone, lstrip, rstrip } = this.of.get(content);
      const [before, after] = [text.slice(done, index), text.slice(index + content.length)];
      if (index < done || (alone && (WORD_END.test(text.slice(0, index)) || WORD_START.test(after)))) continue;
      parts.push(lstrip ? before.replace(SPACE_END, "") : before, id);
      done = text.length - (rstrip ? after.replace(SPACE_START, "") : after).length;
    }
    return [...parts, text.slice(done)];
  }
}

const WORD_START = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const WORD_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;

function median(tokens) {
  const lengths = Uint32Array.from(tokens, (token) => Array.from(token).length).sort();
  const half = lengths.length >> 1;
  return Math.trunc(lengths.length % 2 ? lengths[half] : (lengths[half - 1] + lengths[half]) / 2);
}

function firstChars(text, limit) {
  if (text.length <= limit) return text;
  let at = 0;
  for (let chars = 0; chars < limit && at < text.length; chars++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return text.slice(0, at);
}

/** Calibrated logistic regression: a label and its probability, or the probability of each label. */
class Classifier {
  constructor({ labels, link = "softmax", several = false }, tensors) {
    Object.assign(this, tensors, { labels, link, several });
    this.curves = labels.map((_, k) => tensors[`curve.${k}`]);
  }

  score(vectors) {
    return products(vectors, this.directions, this.offsets).map((logits) => {
      const scores = this.#probabilities(logits);
      if (this.several) return Object.fromEntries(this.labels.map((label, k) => [label, scores[k]]));
      const best = scores.indexOf(Math.max(...scores));
      return { label: this.labels[best], score: scores[best] };
    });
  }

  #probabilities(logits) {
    let found;
    if (this.link === "softmax") {
      const highest = Math.max(...logits);
      found = logits.map((logit) => Math.exp(logit - highest));
    } else if (this.link === "sigmoid") {
      found = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
    } else {
      found = logits.map((logit, k) => interpolated(logit, this.curves[k]));
    }
    if (this.several) return found;
    const total = found.reduce((sum, one) => sum + one, 0);
    return found.map((one) => (total > 0 ? one / total : 1 / found.length));
  }
}

/** The nearest of named prototypes, or null if none is near enough. */
class Prototypes {
  constructor({ names, threshold }, { directions }) {
    Object.assign(this, { names, threshold, directions });
  }

  score(vectors) {
    return products(vectors, this.directions).map((cosines) => {
      const similarity = Math.max(...cosines);
      const nearest = similarity < this.threshold ? null : this.names[cosines.indexOf(similarity)];
      return { nearest, similarity };
    });
  }
}

/** The Mahalanobis distance from normal texts. */
class Novelty {
  constructor({ threshold }, { directions, offsets, squares }) {
    Object.assign(this, { threshold, directions, offsets, squares: squares.data });
  }

  score(vectors) {
    return products(vectors, this.directions, this.offsets).map((along) => {
      let square = along.at(-1);
      this.squares.forEach((factor, k) => (square += factor * along[k] ** 2));
      const distance = Math.sqrt(Math.max(square, 0));
      return { distance, novel: distance > this.threshold };
    });
  }
}

const HEADS = { classifier: Classifier, prototypes: Prototypes, novelty: Novelty };

async function readHead(files, name, dim) {
  const path = `heads/${name}.safetensors`;
  const tensors = await readTensors(files, path);
  const about = JSON.parse(tensors.__metadata__?.["millstream.head"] ?? "{}");
  const Head = HEADS[about.kind];
  if (about.format !== 1 || !Head) throw new ModelError(`${path} holds no head that this version knows`);
  if (tensors.directions?.shape[1] !== dim) throw new ModelError(`${path} does not fit vectors of ${dim}`);
  return new Head(about, tensors);
}

/** The scalar products of each vector with a head's directions, plus its offsets. */
function products(vectors, { data, shape: [n, dim] }, offsets) {
  return Array.from({ length: vectors.length / dim }, (_, row) =>
    Array.from({ length: n }, (_, k) => {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += vectors[row * dim + i] * data[k * dim + i];
      return sum + (offsets ? offsets.data[k] : 0);
    }),
  );
}

/** A curve's value at x, constant beyond its ends, as `numpy.interp` has it. */
function interpolated(x, { data, shape: [, n] }) {
  if (x >= data[n - 1]) return data[2 * n - 1];
  let k = 0;
  while (k < n && data[k] <= x) k++;
  if (k === 0) return data[n];
  const slope = (data[n + k] - data[n + k - 1]) / (data[k] - data[k - 1]);
  return data[n + k - 1] + slope * (x - data[k - 1]);
}

const HEADER_GUESS = 4096; // bytes; most headers are shorter
const ARRAYS = { F64: Float64Array, F32: Float32Array, I8: Int8Array, U8: Uint8Array, I32: Int32Array };

/** The arrays of a safetensors file by name, and its metadata. */
async function readTensors(files, path) {
  let begin = await files.range(path, 0, HEADER_GUESS);
  const size = Number(new BigUint64Array(begin.slice(0, 8).buffer)[0]);
  if (size + 8 > begin.length) begin = await files.range(path, 0, size + 8);
  const header = parsed(begin.subarray(8, 8 + size));
  const found = { __metadata__: header.__metadata__ };
  delete header.__metadata__;
  const ends = Object.values(header).map((entry) => entry.data_offsets[1]);
  const body = await files.range(path, 8 + size, 8 + size + Math.max(...ends));
  for (const [name, { dtype, shape, data_offsets: span }] of Object.entries(header)) {
    const data = numbers(body.slice(...span), dtype);
    const expected = shape.reduce((product, n) => product * n, 1);
    if (data?.length !== expected) throw new ModelError(`${name} of ${path} is damaged, or is ${dtype}`);
    found[name] = { data, shape };
  }
  return found;
}

function numbers({ buffer, length: size }, dtype) {
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), float16);
  if (dtype === "I64") return Int32Array.from(new BigInt64Array(buffer), Number);
  const Kind = ARRAYS[dtype];
  return Kind && new Kind(buffer, 0, size / Kind.BYTES_PER_ELEMENT);
}

function float16(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return NaN; // or infinite, which is as bad
  const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
  return bits >> 15 ? -size : size;
}

async function openFiles(source, { manifest, cache = "millstream" }) {
  if (typeof source === "object" && !(source instanceof URL)) return new Files(async (path) => source[path]);
  const base = new URL(source, globalThis.location?.href ?? "file:///");
  const inStore = /\/v\/\d{8}\.json$/.test(base.pathname);
  if (!inStore && !base.pathname.endsWith("/")) base.pathname += "/";
  let known = inStore ? base : manifest;
  if (typeof known === "string" || known instanceof URL) known = parsed(await fetched(new URL(known, base), cache));
  const digests = known && new Map(known.files.map((file) => [file.path, file.sha256]));
  const address = (path) => new URL(inStore ? `../blobs/${digests.get(path)}` : path, base);
  return new Files((path, span) => fetched(address(path), cache, span), digests);
}

const parsed = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** The files of a model; those of a manifest are read whole and checked. */
class Files {
  constructor(read, digests) {
    Object.assign(this, { read, digests, whole: new Map() });
  }

  heads() {
    const paths = Array.from(this.digests?.keys() ?? []);
    return paths.filter((path) => path.startsWith("heads/")).map((path) => path.slice(6, -".safetensors".length));
  }

  async json(path) {
    const bytes = await this.range(path);
    try {
      return parsed(bytes);
    } catch (error) {
      throw new ModelError(`${path} is not JSON: ${error.message}`);
    }
  }

  async range(path, start = 0, end = Infinity) {
    if (!this.whole.has(path)) {
      const data = await this.read(path, this.digests || end === Infinity ? undefined : [start, end]);
      if (data === undefined) throw new ModelError(`the model has no ${path}`);
      if (data.isPart) return data.bytes;
      if (this.digests) await this.#check(path, data);
      this.whole.set(path, data);
    }
    return this.whole.get(path).subarray(start, end);
  }

  async #check(path, data) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== this.digests.get(path)) throw new ModelError(`${path} does not have its sha256`);
  }
}

/** The bytes at a URL, or a part of them if the server sends parts. */
async function fetched(url, cacheName, span) {
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url));
  }
  const key = `${url}#${span ?? ""}`;
  const cache = cacheName && (await globalThis.caches?.open(cacheName).catch(() => null)); // none in an insecure page
  let response;
  try {
    response = await fetch(url, span && { headers: { Range: `bytes=${span[0]}-${span[1] - 1}` } });
  } catch (error) {
    response = await cache?.match(key); // offline
    if (!response) throw new ModelError(`cannot fetch ${url}: ${error.message}`);
  }
  if (!response.ok) throw new ModelError(`cannot fetch ${url}: ${response.status} ${response.statusText}`);
  const isPart = response.status === 206 || response.headers.has("part"); // a cache takes no answer of 206
  const bytes = new Uint8Array(await response.arrayBuffer());
  await cache?.put(key, new Response(bytes, { headers: isPart ? { part: "1" } : {} })).catch(() => null);
  return isPart ? { isPart, bytes } : bytes;
}

/** The numbers of a table: of base 26, each with a capital as its last digit. */
function unpacked(table) {
  return table.match(/-?[a-z]*[A-Z]/g).map((letters) => {
    const digits = letters.replace("-", "").toLowerCase();
    const size = Array.from(digits).reduce((sum, digit) => 26 * sum + digit.charCodeAt(0) - 97, 0);
    return letters.startsWith("-") ? -size : size;
  });
}

/** Characters for a pattern, from runs: the distance from the run before, and the length less one. */
function characters(table) {
  const numbers = unpacked(table);
  let found = "";
  for (let k = 0, last = 0; k < numbers.length; k += 2) {
    const first = last + numbers[k];
    last = first + numbers[k + 1];
    found += `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`;
  }
  return found;
}

/** The lower case of newer characters, from runs: distance, length, step, distance of the lower case. */
function lowerCase(table) {
  const found = new Map();
  const numbers = unpacked(table);
  for (let k = 0, first = 0; k < numbers.length; k += 4) {
    first += numbers[k];
    for (let n = 0, code = first; n < numbers[k + 1]; n++, code += numbers[k + 2]) {
      found.set(String.fromCodePoint(code), String.fromCodePoint(code + numbers[k + 3]));
    }
  }
  return found;
}

// The tables are what `tokenizers` does with each character; unicode_tables.py prints them.
const REMOVED_PACKED = `
AIDBCRdSbGOAcaLFXAhLAbYAglJAdaREbBEbYECJcuoFjmDchCAjQCCAgiYAcncLDhwYHbtkzNAbFdRdstTdsyNDdsyN`;
const ACCENTS_PACKED = `
bdOeHkQEkGbSCACBCBCAcVKbXURAdYGDFDBCDbKAbFbAdOKcHIbJDCICCCEbSCfGbFcEACAFHFAEGLBbEAcHAFDJAVBbEBcGAFBFBDCEAbFBEAMBcGAF
ECBFAVBbEAcHADACDJAJAMBbFAcKANAbZAcKCGCCDIBMBbEAcHADAHAGBVBbEAcMDJAVBdZAICCAdNADGNHdVADFCBMFcXBbCACACAcENCECBGKCbJKA
dZDCFCBDBbABFCRDOADBHAQAbbCCbkLCbECbEBbFBcNBCGJADKKAbUCgAAePCFBKAHCiMBDAcHACGCACADHHJDAbXNcPDbXACECAGAbPINBbHDDBCCcF
ACBEACCcHHDBfXCCMCGFAHAEBhRcBHDbbTMFAELeoDCfMAdTbFvJDeEBbsqFAFJbHBdDBkNAEAFAbABgCAbCRcBHbAKbVCbXADDDAbPAcQFDBDBNAJA
bWAcAACCDBGBCAbRBJAjFADAFAbdzTAbcKPRPblMAiTAfUEcmHCCBGDbPCFAgKBbyHAcDOcFCbYDDBcSCbLECHcLANBcBIMCdVCDACBgMAEHWBcHAEA
bMGEEmHFCAFBCBjFDHBCBbCBdIHDACBeDACADFCAdYCDDCEbfsVEcIGbqVDbdePBhwRCSHDGbFDfTCcyEcCFbXJAPAXECOfjDGbtcnIjF`;
const DECOMPOSED_PACKED = `
hKnNHNhXeHFAKAHFCACCbAbKFBbShMObLDBfWcACAcVKIEbLgGbKAbFbAgFIbJDCICCCEbSCeRNCbCbQLIREDEHdPAPCPBCAdGADAGARAMCDAdQARAeH
AMADCPBcDAcCDeTAFAIBdYAEAHBCDeVDeVAQEdMCODeFBPDcZbRKbCIWMAKbCNAdSARDdFAbbSCbkNAbGAgCLhWAfOCiMBcUAVHDAbXNcVACACACACAE
AbIAHACADBCBbNIcDBcHAMBcQAfXCCMCGFAHAEBhRcBGgEFdLHVDFDbLDFDHCACACACbEDcACOCNDFCSDCCHDBhZbGcCFeHpKcxUAuLCfMAdTbFvJFbD
cUFdXbsmJAFJbHBdDBkRAhIAbCRcGCbMAdSANAjGACCDBGBCAcBAjNATqnRmqNoBDeBcQZCECACBCBCIbbUPblMAiTAfUEcmTACAbPCFAgKBcaYAcFA
bBACAPAOBcSCbSBEBcLAcZAKAeDBgXBdEAPCZGEEhYAEAeNBCAEBjNBEBeXAePBeMAbyAAbduVEcIGbevOAhwIdUfACffGGCQDGCBCEdhEGeGGdynMuV`;
const CAPITALS_PACKED = `
cNsLCQnCECACTCIbTbCMeYKcPDbKEAIObJbLehEbLbcDdGduYfSMdKQHJFLXJFMACACACQZbNJEMEMDNEMElMMbUbJbfNZderQZbvAbL`;
const PUNCTUATION_PACKED = `
bHOLGbBFbBDbJAGAEALBEAEAbbBAJArZFbQBcAACADADAbTBVBCBOADBcXDdZAbSNjACcDObGAkCBLAoUAbdSAdNALBgNOCAbMDcUAcXEFBeIFgQAxPI
fWAxXBbTBdBCcUBgCCCCbMKmCBiJBeZGCFgRGgADcIEcLBcNHMAbfXXJTCMCLbFBPByKDbEBbpUNdCBbGJpOVcMDbHBbdKDCBeJAfObUCSrFCFJDLRAN
AdVAdNAbryHBkKCdWALAeMFoRDdJBbPCCAbYBbWAdUMRBeVDeXBRBjQAbeuTBiBJXbICNCAFACBfUCCFCDLBEBbBCCAbCACACGpVCzTAbXApZAbcQAhS
AbGAkNIbNAeJGcPGdMDbtZGeGBCDeXDbXBdCEEAOACCdLFeEAuVAjRWeCCjPCezYEbanABfEAcOEJAbevBAliME`;
const LOWER_PACKED = `
vYBBpzFBBBBCBB-gHBBBpzCDBBBCBB-hNBBBcRBBBcTBFCBlMCCBGBBBJBBeMdCBBIbOBBBCBB-HBBBBDDB-fAjPBBBEDCBWQCBelJBBktKGBBktKbfC
BBIdgMBBBHbRB-elSbTDB-elSsNBB-lgXdODCBeyGbWBbWdSBBBCBB-pxFBBB-fqSBBB-pwPDDCBGBB-pyQBBB-pxLBBB-pyTBBB-pySCBBBDBBBJCB
-pzZCbYCBeDCCBHBBBbtyKXCBcMOCBgGHCBQbFCBcTCCBEBB-cagYBFCBNBBBCBB-ckoEDCCBGKCBUBB-ckpGBBB-ckpRBBB-ckpNBBB-ckpDBBB
-ckpGCBB-cknIBBB-ckoGBBB-cknLBBBbjSBICBQBB-bWBBB-ckpFBBB-caiYBCCBEBB-ckqPBICBQBB-ckyZZBBBbixTCBbOfIbKBbOhKLBbNMPBbNQ
HBbNICBbNcqEbZBcMiAWBbGehKbGBbGbglCbGBbGdSZBbBbuiYbIBbI`;

const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const CHINESE =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const SPACES = new RegExp(`[${SPACE}]`, "gu");
const SPACE_START = new RegExp(`^[${SPACE}]+`);
const SPACE_END = new RegExp(`[${SPACE}]+$`);
const SURROGATES = /\p{Surrogate}/gu;
const REMOVED = new RegExp(`[${characters(REMOVED_PACKED)}]`, "gu");
const ACCENTS = new RegExp(`[${characters(ACCENTS_PACKED)}]`, "gu");
const DECOMPOSED = new RegExp(`[${characters(DECOMPOSED_PACKED)}]+`, "gu");
const PUNCTUATION = new RegExp(`[${characters(PUNCTUATION_PACKED)}]`, "u");
const WORDS = new RegExp(`[${characters(PUNCTUATION_PACKED)}]|[^${SPACE}${characters(PUNCTUATION_PACKED)}]+`, "gu");
const LOWER = lowerCase(LOWER_PACKED);
const CAPITALS = new RegExp(`[${characters(CAPITALS_PACKED)}${[...LOWER.keys()].join("")}]`, "gu");

/**
 * Static text embeddings in a web page, Node or Deno: the models that Millstream and model2vec publish.
 *
 *     const encoder = await Encoder.load("models/minilm/");
 *     const vectors = encoder.encode(["card declined", "payment refused"]); // 2 rows of encoder.dim numbers
 *
 * Token ids equal those of Hugging Face `tokenizers` in every engine since Unicode 14 (2021).
 * Types: millstream.d.ts.
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
    for (const name of options.heads ?? files.heads()) {
      const head = await readHead(files, name, encoder.dim, options.heads);
      if (head) encoder.heads[name] = head;
    }
    return encoder;
  }

  constructor({ normalize, max_length = 512, masks }, tokenizer, tensors) {
    const table = tensors.embeddings ?? tensors["embedding.weight"];
    if (masks?.length) throw new ModelError("the model has masks, which do not work here");
    if (table?.shape.length !== 2) throw new ModelError("model.safetensors holds no table of token vectors");
    const [nRows, dim] = table.shape;
    const nTokens = tokenizer.tokens.length;
    const rows = tensors.mapping?.data ?? Int32Array.from({ length: Math.min(nRows, nTokens) }, (_, id) => id);
    const weights = tensors.weights?.data ?? new Float32Array(nTokens).fill(1);
    if (Math.min(rows.length, weights.length) < nTokens) {
      throw new ModelError(`the tokenizer has ${nTokens} tokens, the table or its weights have fewer`);
    }
    if (rows.some((row) => row < 0 || row >= nRows)) {
      throw new ModelError("the mapping names rows that are not there");
    }
    this.dim = dim;
    this.heads = {};
    this.normalize = Boolean(normalize);
    this.maxTokens = max_length ?? Infinity;
    this.tokenizer = tokenizer;
    this.table = new Table(table, rows, weights);
  }

  /** The ids of the tokens whose vectors `encode` averages: without unknown tokens, truncated. */
  tokenize(text) {
    return this.tokenizer.ids(text, this.maxTokens);
  }

  /** The vectors of texts: `dim` numbers for each, one text after the other. Null and empty texts give zeros. */
  encode(texts, { normalize = this.normalize } = {}) {
    const list = Array.isArray(texts) ? texts : [texts];
    const found = new Float32Array(list.length * this.dim);
    for (let row = 0; row < list.length; row++) {
      const text = list[row];
      if (text == null) continue;
      if (typeof text !== "string") throw new ModelError(`text ${row} is no string: ${typeof text}`);
      const ids = this.tokenizer.ids(text, this.maxTokens);
      if (!ids.length) continue;
      const sums = this.table.sum(ids);
      const scale = normalize ? 1 / (length(sums) || 1) : 1 / ids.length;
      const start = row * this.dim;
      for (let k = 0; k < sums.length; k++) found[start + k] = sums[k] * scale;
    }
    return found;
  }

  /** The tokens of a text, and how much each adds to its vector: the length of the token's own. */
  explain(text) {
    return this.tokenize(text).map((id) => ({ token: this.tokenizer.tokens[id], weight: length(this.table.sum([id])) }));
  }

  /** The scores of texts, a list for each head. */
  score(texts) {
    const vectors = this.encode(texts, { normalize: true });
    return Object.fromEntries(Object.entries(this.heads).map(([name, head]) => [name, head.score(vectors)]));
  }
}

function length(vector) {
  let square = 0;
  for (let k = 0; k < vector.length; k++) square += vector[k] * vector[k];
  return Math.sqrt(square);
}

const PAGE = 1 << 16; // bytes; the memory's first is for tokens
const POOLING = "AGFzbQEAAAABBwFgA39/fwACDAEABm1lbW9yeQIAAgMCAQAHBwEDYWRkAAAKxgEBwwECBH8Ge0GAgAQhAwNAIAwhCiAMIQtBACEFA0AgBSgCACAEaiEGIAX9CQIEIQcgAEEBRgRAIAb9AQMAIgj9qAH9+gEhCSAI/acB/foBIQgFIAb9AAQAIQggBv0ABBAhCQsgCiAIIAf95gH95AEhCiALIAkgB/3mAf3kASELIAVBCGoiBSABSQ0ACyADIAogA/0ABAD95AH9CwQAIAMgCyAD/QAEEP3kAf0LBBAgBCAAQQN0aiEEIANBIGoiAyACSQ0ACws=";

/** Token vectors, which WebAssembly adds up (pooling.wat), or JavaScript where a policy forbids it. */
class Table {
  constructor({ data, shape: [n, dim] }, rowOfToken, weights) {
    const rows = data instanceof Int8Array ? data : Float32Array.from(data);
    const padded = Math.ceil(dim / 8) * 8;
    this.size = rows.BYTES_PER_ELEMENT;
    this.begin = PAGE + 4 * padded; // behind the sums
    const pages = Math.ceil((this.begin + n * padded * this.size) / PAGE);
    let memory;
    try {
      memory = new WebAssembly.Memory({ initial: pages });
      const code = new WebAssembly.Module(Uint8Array.from(atob(POOLING), (char) => char.charCodeAt(0)));
      this.add = new WebAssembly.Instance(code, { "": { memory } }).exports.add;
    } catch {
      memory = { buffer: new ArrayBuffer(pages * PAGE) };
      this.size = 1; // an address is that of a number
    }
    const { buffer } = memory;
    this.tokens = new Uint32Array(buffer, 0, PAGE / 4);
    this.factors = new Float32Array(buffer, 0, PAGE / 4);
    this.sums = new Float32Array(buffer, PAGE, dim);
    this.rows = new rows.constructor(buffer, this.begin);
    for (let k = 0; k < n; k++) this.rows.set(rows.subarray(k * dim, (k + 1) * dim), k * padded);
    this.addresses = Uint32Array.from(rowOfToken, (row) => this.begin + row * padded * this.size);
    this.weights = weights;
  }

  /** The sum of tokens' vectors, each times its weight; the next sum overwrites it. */
  sum(ids) {
    const { tokens, factors, sums } = this;
    sums.fill(0);
    for (let done = 0, n; done < ids.length; done += n) {
      n = Math.min(ids.length - done, 128); // for precision
      for (let i = 0; i < n; i++) {
        tokens[2 * i] = this.addresses[ids[done + i]];
        factors[2 * i + 1] = this.weights[ids[done + i]];
      }
      this.add(this.size, 8 * n, PAGE + 4 * sums.length);
    }
    return sums;
  }

  add(_, end) {
    const { begin, tokens, factors, sums, rows } = this;
    for (let k = 0; k < sums.length; k++) {
      let sum = sums[k];
      for (let i = 0; i < end / 4; i += 2) sum += rows[tokens[i] - begin + k] * factors[i + 1];
      sums[k] = sum;
    }
  }
}

const MOST_WORDS = 1 << 17;
const [IN_WORD, ALONE, SPLIT] = [0, 1, 2]; // what an ASCII character is

/** BERT's tokenizer: its normaliser, its splits, and WordPiece. */
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
    this.longest = this.tokens.reduce((most, token) => Math.max(most, token.length), 0);
    for (const { id, content } of added) this.tokens[id] = content;
    this.tokenChars = median(new Set(Object.values(this.tokens)));
    this.raw = new AddedTokens(added.filter((token) => !token.normalized), (text) => text);
    this.normalized = new AddedTokens(added.filter((token) => token.normalized), (text) => this.normalize(text));
    this.words = new Map(); // the ids of words that were met
    this.ascii = Uint8Array.from({ length: 128 }, (_, code) => this.#kind(String.fromCharCode(code)));
  }

  /** The ids of a text's first `maxTokens` tokens, without the unknown ones among them. */
  ids(text, maxTokens) {
    this.found = [];
    this.left = maxTokens;
    const cut = firstChars(text, maxTokens * this.tokenChars); // as model2vec does
    for (const part of this.raw.split(cut)) {
      if (typeof part === "number") this.#add([part]);
      else if (!this.normalized.size) this.#tokenize(part);
      else {
        for (const inner of this.normalized.split(this.normalize(part))) {
          this.#add(typeof inner === "number" ? [inner] : this.#pieces(inner));
        }
      }
    }
    return this.found;
  }

  /** Split a text at ASCII white space and punctuation, and look each word up before it is normalised. */
  #tokenize(text) {
    const { ascii } = this;
    for (let i = 0, start = 0; i <= text.length && this.left > 0; i++) {
      const code = i < text.length ? text.charCodeAt(i) : 32;
      const kind = code < 128 ? ascii[code] : IN_WORD;
      if (kind === IN_WORD) continue;
      if (start < i) this.#word(text.slice(start, i));
      if (kind === ALONE) this.#word(text[i]);
      start = i + 1;
    }
  }

  #word(word) {
    let ids = this.words.get(word);
    if (!ids) {
      ids = this.#pieces(this.normalize(word));
      if (this.words.size === MOST_WORDS) this.words.clear();
      this.words.set((" " + word).slice(1), ids); // a copy: a slice keeps its text in memory
    }
    this.#add(ids);
  }

  #add(ids) {
    for (let k = 0; k < ids.length; k++) {
      if (this.left-- > 0 && ids[k] !== this.unknown) this.found.push(ids[k]);
    }
  }

  normalize(text) {
    const { clean_text: clean, handle_chinese_chars: chinese, strip_accents: strip, lowercase } = this.normalizer;
    if (ASCII.test(text)) return lowercase ? text.toLowerCase() : text;
    let found = text.replace(SURROGATES, "\ufffd");
    if (clean) found = found.replace(CONTROLS, "").replace(SPACES, " ");
    if (chinese) found = found.replace(CHINESE, " $& ");
    if (strip ?? lowercase) found = found.replace(DECOMPOSED, (run) => run.normalize("NFD")).replace(ACCENTS, "");
    return lowercase ? found.replace(CAPITALS, (char) => LOWER.get(char) ?? char.toLowerCase()) : found;
  }

  #kind(char) {
    const found = this.normalize(char);
    return SPACE_START.test(found) ? SPLIT : IS_PUNCTUATION.test(found) ? ALONE : IN_WORD;
  }

  /** The ids of a normalised text's words: of each, the longest token that it starts with, and so on. */
  #pieces(text) {
    const ids = [];
    for (const word of text.match(WORDS) ?? []) {
      const begin = ids.length;
      const tooLong = word.length > this.maxWordChars && Array.from(word).length > this.maxWordChars;
      for (let start = 0, end; start < word.length; start = end) {
        let id;
        for (end = tooLong ? start : Math.min(start + this.longest, word.length); end > start; end--) {
          id = this.vocabulary.get((start ? this.prefix : "") + word.slice(start, end));
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

const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const [WORD_START, WORD_END] = [`^${WORD}`, `${WORD}$`].map((pattern) => new RegExp(pattern, "u"));

function median(tokens) {
  const lengths = Uint32Array.from(tokens, (token) => Array.from(token).length).sort();
  return (lengths[(lengths.length - 1) >> 1] + lengths[lengths.length >> 1]) >> 1;
}

function firstChars(text, limit) {
  if (text.length <= limit) return text;
  let at = 0;
  for (let chars = 0; chars < limit && at < text.length; chars++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return text.slice(0, at);
}

const HEADS = {
  /** Calibrated logistic regression: a label and its probability, or that of each label. */
  classifier({ labels, link = "softmax", several = false }, tensors) {
    return products(tensors, (logits) => {
      const highest = Math.max(...logits);
      const links = {
        softmax: (logit) => Math.exp(logit - highest),
        sigmoid: (logit) => 1 / (1 + Math.exp(-logit)),
        isotonic: (logit, k) => interpolated(logit, tensors[`curve.${k}`]),
      };
      const scores = logits.map(links[link]);
      if (several) return Object.fromEntries(labels.map((label, k) => [label, scores[k]]));
      const total = scores.reduce((sum, one) => sum + one, 0);
      const shares = scores.map((one) => (total > 0 ? one / total : 1 / scores.length));
      const best = shares.indexOf(Math.max(...shares));
      return { label: labels[best], score: shares[best] };
    });
  },

  /** The nearest of named prototypes, or null if none is near enough. */
  prototypes({ names, threshold }, tensors) {
    return products(tensors, (cosines) => {
      const similarity = Math.max(...cosines);
      return { nearest: similarity < threshold ? null : names[cosines.indexOf(similarity)], similarity };
    });
  },

  /** The Mahalanobis distance from normal texts. */
  novelty({ threshold }, tensors) {
    return products(tensors, (along) => {
      const square = tensors.squares.data.reduce((sum, factor, k) => sum + factor * along[k] ** 2, along.at(-1));
      const distance = Math.sqrt(Math.max(square, 0));
      return { distance, novel: distance > threshold };
    });
  },
};

async function readHead(files, name, dim, named) {
  const path = `heads/${name}.safetensors`;
  const tensors = await readTensors(files, path);
  const about = JSON.parse(tensors.__metadata__?.["millstream.head"] ?? "{}");
  const make = about.format === 1 && HEADS[about.kind];
  if (!make && !named) return;
  if (!make) throw new ModelError(`${path} has a kind that does not work here: ${about.kind}`);
  if (tensors.directions?.shape[1] !== dim) throw new ModelError(`${path} does not fit vectors of ${dim}`);
  return { score: make(about, tensors) };
}

/** A function that scores vectors by their products with a head's directions, plus its offsets. */
function products({ directions: { data, shape: [n, dim] }, offsets }, score) {
  const product = (vector, k) => {
    let sum = offsets?.data[k] ?? 0;
    for (let i = 0; i < dim; i++) sum += vector[i] * data[k * dim + i];
    return sum;
  };
  return (vectors) =>
    Array.from({ length: vectors.length / dim }, (_, row) => {
      const vector = vectors.subarray(row * dim, (row + 1) * dim);
      return score(Array.from({ length: n }, (_, k) => product(vector, k)));
    });
}

/** A curve's value at x, constant beyond its ends, as `numpy.interp`. */
function interpolated(x, { data, shape: [, n] }) {
  if (x >= data[n - 1]) return data[2 * n - 1];
  let k = 0;
  while (k < n && data[k] <= x) k++;
  if (k === 0) return data[n];
  const slope = (data[n + k] - data[n + k - 1]) / (data[k] - data[k - 1]);
  return data[n + k - 1] + slope * (x - data[k - 1]);
}

const HEADER_GUESS = 4096; // bytes; most are shorter
const ARRAYS = { F64: Float64Array, F32: Float32Array, I8: Int8Array, U8: Uint8Array, I32: Int32Array };

/** The arrays of a safetensors file by name, and its metadata. */
async function readTensors(files, path) {
  let begin = await files.range(path, 0, HEADER_GUESS);
  const size = Number(new BigUint64Array(begin.slice(0, 8).buffer)[0]);
  if (size + 8 > begin.length) begin = await files.range(path, 0, size + 8);
  const { __metadata__, ...entries } = parsed(begin.subarray(8, 8 + size));
  const found = { __metadata__ };
  const ends = Object.values(entries).map((entry) => entry.data_offsets[1]);
  const body = await files.range(path, 8 + size, 8 + size + Math.max(...ends));
  for (const [name, { dtype, shape, data_offsets: span }] of Object.entries(entries)) {
    const data = numbers(body.slice(...span), dtype);
    if (data?.length !== shape.reduce((product, n) => product * n, 1)) throw new ModelError(`${name} of ${path} is damaged, or is ${dtype}`);
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
  if (known && !known.files) known = parsed(await fetched(new URL(known, base), cache));
  const digests = known && new Map(known.files.map((file) => [file.path, file.sha256]));
  const address = (path) => new URL(inStore ? `../blobs/${digests.get(path)}` : path, base);
  return new Files((path, span) => fetched(address(path), cache, span), digests);
}

const parsed = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** A model's files; those of a manifest are read whole and checked. */
class Files {
  constructor(read, digests) {
    Object.assign(this, { read, digests, whole: new Map() });
  }

  heads() {
    return Array.from(this.digests?.keys() ?? []).flatMap((path) => /^heads\/(.*)\.safetensors$/.exec(path)?.[1] ?? []);
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
      const digest = this.digests && new Uint8Array(await crypto.subtle.digest("SHA-256", data));
      const hex = Array.from(digest ?? [], (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (digest && hex !== this.digests.get(path)) throw new ModelError(`${path} does not have its sha256`);
      this.whole.set(path, data);
    }
    return this.whole.get(path).subarray(start, end);
  }
}

/** The bytes at a URL, or a part of them. */
async function fetched(url, cacheName, span) {
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url));
  }
  const key = `${url}?${span ?? ""}`;
  const cache = cacheName && (await globalThis.caches?.open(cacheName).catch(() => null)); // none if insecure
  const range = span && { headers: { Range: `bytes=${span[0]}-${span[1] - 1}` } };
  const failed = async ({ message }) => (await cache?.match(key)) ?? { status: message, statusText: "" }; // offline
  const response = await fetch(url, range).catch(failed);
  if (!response.ok) throw new ModelError(`cannot fetch ${url}: ${response.status} ${response.statusText}`);
  const isPart = response.status === 206 || response.headers.has("part"); // a cache takes no answer of 206
  const bytes = new Uint8Array(await response.arrayBuffer());
  await cache?.put(key, new Response(bytes, { headers: isPart ? { part: "1" } : {} })).catch(() => null);
  return isPart ? { isPart, bytes } : bytes;
}

/** The numbers of a table: of base 26, each with a capital as its last digit. */
function unpacked(table) {
  return table.match(/-?[a-z]*[A-Z]/g).map((letters) => {
    const digits = letters.match(/\w/g).map((letter) => parseInt(letter, 36) - 10);
    return digits.reduce((sum, digit) => 26 * sum + digit) * (letters[0] === "-" ? -1 : 1);
  });
}

/** Characters for a pattern, from runs: the distance from the last, and the length less one. */
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

/** The lower case of newer characters, from runs: distance from the last, length, distance of the lower case. */
function lowerCase(table) {
  const numbers = unpacked(table);
  const found = new Map();
  for (let k = 0, first = 0; k < numbers.length; k += 3) {
    first += numbers[k];
    for (let code = first; code < first + numbers[k + 1]; code++) {
      found.set(String.fromCodePoint(code), String.fromCodePoint(code + numbers[k + 2]));
    }
  }
  return found;
}

// The tables are what `tokenizers` does with each character; unicode_tables.py prints them.
const CONTROL = characters(`
AIDBCRdSbGOAcaLFXAhLAbYAglJAdaREbBEbYECJcuoFjmDchCAjQCCAgiYAcncLDhwYHbtkzNAbFdRdstTdsyNDdsyN`);
const ACCENT = characters(`
bdOeHkQEkGbSCACBCBCAcVKbXURAdYGDFDBCDbKAbFbAdOKcHIbJDCICCCEbSCfGbFcEACAFHFAEGLBbEAcHAFDJAVBbEBcGAFBFBDCEAbFBEAMBcGAF
ECBFAVBbEAcHADACDJAJAMBbFAcKANAbZAcKCGCCDIBMBbEAcHADAHAGBVBbEAcMDJAVBdZAICCAdNADGNHdVADFCBMFcXBbCACACAcENCECBGKCbJKA
dZDCFCBDBbABFCRDOADBHAQAbbCCbkLCbECbEBbFBcNBCGJADKKAbUCgAAePCFBKAHCiMBDAcHACGCACADHHJDAbXNcPDbXACECAGAbPINBbHDDBCCcF
ACBEACCcHHDBfXCCMCGFAHAEBhRcBHDbbTMFAELeoDCfMAdTbFvJDeEBbsqFAFJbHBdDBkNAEAFAbABgCAbCRcBHbAKbVCbXADDDAbPAcQFDBDBNAJA
bWAcAACCDBGBCAbRBJAjFADAFAbdzTAbcKPRPblMAiTAfUEcmHCCBGDbPCFAgKBbyHAcDOcFCbYDDBcSCbLECHcLANBcBIMCdVCDACBgMAEHWBcHAEA
bMGEEmHFCAFBCBjFDHBCBbCBdIHDACBeDACADFCAdYCDDCEbfsVEcIGbqVDbdePBhwRCSHDGbFDfTCcyEcCFbXJAPAXECOfjDGbtcnIjF`);
const MOVING = characters(`
hKbaQKAHFCACCbAmXlLgVtTfJeEBQBCAdGADAbJCDAjAADBQBcDAcCCjKAHBCBeXCfMEnTAKbChHAedCcKdYcVuAkWDFDbLDFDHCACACACbEDcACOCND
FCSDCCHDBlHFeHpKcxUAcaKBbDcUKdSbtoVAeFAwEqnRmqNoBDeBcQZCECACBCBCIibSRkRAeNAkSCjLEeNDjSBjRAccNAcqpJdUfkIGCQDGCBCEdlQG
dynMuV`);
const CAPITAL = characters(`
cNbfPJAHECACTCpFDbLehEbLCAGAbbVdHdgTbQDCmJkLJFLXJFMACACACQZbNJEMEMDNEMElMdPbfNZcsVjIbtyKdMfGgLHAGCbDAbhaIZbvAbNfHbJ
gBKCOCGCBcqDbYenMbFbgjXbFbulLbH`);
const PUNCTUATION = characters(`
bHOLGbBFbBDbJAGAEALBEAEAbbBAJArZFbQBcAACADADAbTBVBCBOADBcXDdZAbSNjACcDObGAkCBLAoUAbdSAdNALBgNOCAbMDcUAcXEFBeIFgQAxPI
fWAxXBbTBdBCcUBgCCCCbMKmCBiJBeZGCFgRGgADcIEcLBcNHMAbfXXJTCMCLbFBPByKDbEBbpUNdCBbGJpOVcMDbHBbdKDCBeJAfObUCSrFCFJDLRAN
AdVAdNAbryHBkKCdWALAeMFoRDdJBbPCCAbYBbWAdUMRBeVDeXBRBjQAbeuTBiBJXbICNCAFACBfUCCFCDLBEBbBCCAbCACACGpVCzTAbXApZAbcQAhS
AbGAkNIbNAeJGcPGdMDbtZGeGBCDeXDbXBdCEEAOACCdLFeEAuVAjRWeCCjPCezYEbanABfEAcOEJAbevBAliME`);
const LOWER = lowerCase(`
kuZBBcatEB-ckqPBBBCBBEBBCBBGBBCB-ckyZbmkYWbGbkwEZbB`);

const CHINESE =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const ASCII = /^[ -~]*$/;
const SPACES = /\p{White_Space}/gu;
const SPACE_START = /^\p{White_Space}+/u;
const SPACE_END = /\p{White_Space}+$/u;
const SURROGATES = /\p{Surrogate}/gu;
const CONTROLS = new RegExp(`[${CONTROL}]`, "gu");
const ACCENTS = new RegExp(`[${ACCENT}]`, "gu");
const DECOMPOSED = new RegExp(`[${ACCENT}${MOVING}]+`, "gu");
const CAPITALS = new RegExp(`[${CAPITAL}${[...LOWER.keys()].join("")}]`, "gu");
const IS_PUNCTUATION = new RegExp(`[${PUNCTUATION}]`, "u");
const WORDS = new RegExp(`[${PUNCTUATION}]|[^\\p{White_Space}${PUNCTUATION}]+`, "gu");

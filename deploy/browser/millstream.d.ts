/** A model that cannot be loaded, or a text that cannot be encoded. */
export class ModelError extends Error {}

/** A text, or texts; null is a text that is not there. */
export type Texts = string | null | readonly (string | null)[];

/** A version's manifest, as `millstream models show --json` prints it and a store holds it. */
export interface Manifest {
  files: { path: string; sha256: string; size: number }[];
}

export interface LoadOptions {
  /** The names of the heads to load; by default those of the manifest, without kinds that do not work here. */
  heads?: string[];
  /** A version's manifest or its URL: files that differ from it are refused. */
  manifest?: Manifest | string | URL;
  /** The name of the cache in which a browser keeps the files, so that the model loads offline; null for none. */
  cache?: string | null;
}

export type Labelled = { label: string; score: number };
export type Tagged = Record<string, number>;
export type Nearest = { nearest: string | null; similarity: number };
export type Novel = { distance: number; novel: boolean };

/** A small model that scores vectors: a classifier, prototypes or novelty. */
export interface Head {
  /** Score vectors of length 1, one after the other as `encode` returns them. */
  score(vectors: Float32Array): (Labelled | Tagged | Nearest | Novel)[];
}

/** A static embedding model. */
export class Encoder {
  private constructor();

  /**
   * Load a model.
   *
   * @param source The URL of a model folder; the URL of a version's manifest in a store (`…/v/00000007.json`),
   *   whose files are checked against it; or the files themselves by path, such as `config.json`.
   * @throws {ModelError} The files are no model, differ from the manifest, or the tokenizer is not BERT's.
   */
  static load(source: string | URL | Record<string, Uint8Array>, options?: LoadOptions): Promise<Encoder>;

  /** The number of dimensions. */
  readonly dim: number;
  /** The heads by name. */
  readonly heads: Record<string, Head>;
  /** Whether vectors have length 1. */
  readonly normalize: boolean;

  /**
   * Embed texts.
   *
   * @param options.normalize Whether vectors get length 1; by default as the model says.
   * @returns `dim` numbers for each text, one text after the other. Null and empty texts give zeros.
   */
  encode(texts: Texts, options?: { normalize?: boolean }): Float32Array;

  /** The ids of the tokens whose vectors `encode` averages: without unknown tokens, truncated. */
  tokenize(text: string): number[];

  /** The tokens of a text, and how much each adds to its vector: the length of the token's own vector. */
  explain(text: string): { token: string; weight: number }[];

  /** The scores of texts by each head: a list for each head's name. */
  score(texts: Texts): Record<string, (Labelled | Tagged | Nearest | Novel)[]>;
}

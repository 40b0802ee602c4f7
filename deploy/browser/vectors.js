/** What the page does with vectors: two axes for a map, cosines, groups. Vectors stand one after the other. */

const SAMPLE = 4_000; // vectors that axes and centres are found from
const ROUNDS = 20;
const TELLING_WORDS = 3;

/** The two axes along which vectors vary most, by power iteration (principal component analysis). */
export function components(vectors, dim) {
  const n = vectors.length / dim;
  const rows = sampled(n);
  const mean = new Float64Array(dim);
  for (const row of rows) for (let k = 0; k < dim; k++) mean[k] += vectors[row * dim + k] / rows.length;
  const axes = [];
  for (let number = 0; number < 2; number++) {
    let axis = Float64Array.from({ length: dim }, (_, k) => Math.sin(k + 1 + number)); // any direction will do
    for (let round = 0; round < ROUNDS; round++) {
      const next = new Float64Array(dim);
      for (const row of rows) {
        let along = 0;
        for (let k = 0; k < dim; k++) along += (vectors[row * dim + k] - mean[k]) * axis[k];
        for (let k = 0; k < dim; k++) next[k] += along * (vectors[row * dim + k] - mean[k]);
      }
      for (const other of axes) {
        const shared = dot(next, other);
        for (let k = 0; k < dim; k++) next[k] -= shared * other[k];
      }
      axis = unit(next);
    }
    axes.push(axis);
  }
  return axes;
}

/** The place of each vector along two axes, from 0 to 1. */
export function project(vectors, axes) {
  const dim = axes[0].length;
  const found = axes.map((axis) => {
    const along = cosines(vectors, axis);
    const sorted = Float64Array.from(along).sort();
    const [low, high] = [sorted[Math.floor(sorted.length * 0.005)], sorted[Math.ceil(sorted.length * 0.995) - 1]];
    return along.map((value) => Math.min(Math.max((value - low) / (high - low || 1), 0), 1));
  });
  return Array.from({ length: vectors.length / dim }, (_, row) => [found[0][row], 1 - found[1][row]]);
}

/** The scalar product of each vector with one. */
export function cosines(vectors, one) {
  const dim = one.length;
  return Array.from({ length: vectors.length / dim }, (_, row) => {
    let sum = 0;
    for (let k = 0; k < dim; k++) sum += vectors[row * dim + k] * one[k];
    return sum;
  });
}

/** Groups of near vectors (spherical k-means), the largest first, each named by its most telling words. */
export function groups(vectors, dim, texts, most) {
  const n = texts.length;
  if (!n) return { assigned: [], names: [] };
  const rows = sampled(n);
  let centres = firstCentres(vectors, dim, rows, Math.min(most, n));
  for (let round = 0; round < ROUNDS; round++) {
    const sums = centres.map(() => new Float64Array(dim));
    for (const row of rows) {
      const sum = sums[closest(vectors, row, centres)];
      for (let k = 0; k < dim; k++) sum[k] += vectors[row * dim + k];
    }
    centres = sums.map((sum, k) => (dot(sum, sum) ? unit(sum) : centres[k]));
  }
  const raw = Array.from({ length: n }, (_, row) => closest(vectors, row, centres));
  const sizes = centres.map((_, k) => raw.filter((group) => group === k).length);
  const order = [...centres.keys()].filter((k) => sizes[k]).sort((a, b) => sizes[b] - sizes[a]);
  const assigned = raw.map((group) => order.indexOf(group));
  return { assigned, names: order.map((k, place) => ({ words: telling(texts, assigned, place), size: sizes[k] })) };
}

/** Centres far from each other: each next one is the vector that is least like those before. */
function firstCentres(vectors, dim, rows, n) {
  const vector = (row) => vectors.slice(row * dim, (row + 1) * dim);
  const centres = [vector(rows[0])];
  const highest = new Float64Array(rows.length).fill(-Infinity);
  while (centres.length < n) {
    let least = 0;
    rows.forEach((row, k) => {
      highest[k] = Math.max(highest[k], dot(vector(row), centres.at(-1)));
      if (highest[k] < highest[least]) least = k;
    });
    centres.push(vector(rows[least]));
  }
  return centres;
}

function closest(vectors, row, centres) {
  let [best, highest] = [0, -Infinity];
  centres.forEach((centre, k) => {
    let sum = 0;
    for (let i = 0; i < centre.length; i++) sum += vectors[row * centre.length + i] * centre[i];
    if (sum > highest) [best, highest] = [k, sum];
  });
  return best;
}

/** Words that are frequent in a group and rarer elsewhere: share in the group times the logarithm of its lift. */
function telling(texts, assigned, group) {
  const [inside, everywhere] = [new Map(), new Map()];
  let size = 0;
  texts.forEach((text, row) => {
    size += assigned[row] === group;
    for (const word of new Set(text.toLowerCase().match(/\p{L}{3,}/gu))) {
      everywhere.set(word, (everywhere.get(word) ?? 0) + 1);
      if (assigned[row] === group) inside.set(word, (inside.get(word) ?? 0) + 1);
    }
  });
  const score = ([word, n]) => (n / size) * Math.log((n / size) / (everywhere.get(word) / texts.length));
  const best = [...inside].filter((one) => score(one) > 0).sort((a, b) => score(b) - score(a));
  return best.slice(0, TELLING_WORDS).map(([word]) => word);
}

function sampled(n) {
  const step = Math.max(1, n / SAMPLE);
  return Array.from({ length: Math.min(n, SAMPLE) }, (_, k) => Math.floor(k * step));
}

function dot(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

function unit(vector) {
  const size = Math.sqrt(dot(vector, vector)) || 1;
  return vector.map((value) => value / size);
}

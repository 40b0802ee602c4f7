/** Records of a file: CSV or TSV with a header, JSON lines, a JSON array, or plain lines. */

/** The records, each an object of its fields; fields of inner objects have names such as `event.message`. */
export function records(text, name = "") {
  const body = text.replace(/^\ufeff/, "");
  if (/^\s*\[/.test(body)) return JSON.parse(body).map((row) => flat(row));
  if (/^\s*\{/.test(body)) return lines(body).map(jsonRecord);
  if (/\.(csv|tsv)$/i.test(name)) return separated(body);
  return lines(body).map((line) => ({ text: line }));
}

/** The names of fields with text, those with the longest texts first. */
export function textFields(rows) {
  const lengths = new Map();
  for (const row of rows.slice(0, 1000)) {
    for (const [field, value] of Object.entries(row)) {
      if (typeof value === "string") lengths.set(field, (lengths.get(field) ?? 0) + value.length);
    }
  }
  if (!lengths.size) throw new Error("no record has a text");
  return [...lengths.keys()].sort((a, b) => lengths.get(b) - lengths.get(a));
}

const lines = (text) => text.split(/\r?\n/).filter((line) => line.trim());

function jsonRecord(line, index) {
  try {
    return flat(JSON.parse(line));
  } catch (error) {
    throw new Error(`record ${index + 1} is not JSON (${error.message})`);
  }
}

function flat(record, prefix = "") {
  if (typeof record !== "object" || record === null) return { [prefix || "text"]: record };
  return Object.assign({}, ...Object.entries(record).map(([key, value]) => flat(value, prefix ? `${prefix}.${key}` : key)));
}

/** CSV by RFC 4180; what stands more often in the first line, a tab, a semicolon or a comma, separates. */
function separated(text) {
  const first = text.split("\n", 1)[0];
  const counts = ["\t", ";", ","].map((mark) => [first.split(mark).length, mark]);
  const [, mark] = counts.reduce((best, one) => (one[0] > best[0] ? one : best));
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|((?!")[^${mark}\\r\\n]*))(${mark}|\\r?\\n|$)`, "y");
  const rows = [[]];
  while (field.lastIndex < text.length) {
    const [, quoted, plain, end] = field.exec(text) ?? [];
    if (end === undefined) throw new Error(`row ${rows.length} has text behind a quoted field`);
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== mark) rows.push([]);
  }
  const [header, ...body] = rows.filter((row) => row.length && row.join(""));
  return body.map((row) => Object.fromEntries(header.map((name, k) => [name, row[k] ?? null])));
}

import type { LogLine } from "@freehold/client/gen/freehold/deployments/v1/log_pb";

/** Which lines are in sight. */
export interface Window {
  readonly first: number;
  /** After the last one. */
  readonly end: number;
  /** Rows above the first one, and rows of all. */
  readonly above: number;
  readonly total: number;
}

/**
 * The lines of a log, and where each of them is when they are laid out in rows of equal height. Long lines take several rows when
 * they are wrapped; in a font of fixed width that is arithmetic, so a hundred thousand lines need no element to be measured.
 */
export class LogLines {
  readonly lines: LogLine[] = [];
  /** Rows before each line, and after the last one; only when wrapped. */
  private offsets: number[] = [0];
  private columns = 0;

  append(lines: readonly LogLine[]): void {
    for (const line of lines) {
      this.lines.push(line);
      if (this.columns > 0) this.offsets.push((this.offsets.at(-1) ?? 0) + this.rows(line));
    }
  }

  /** Wraps after so many characters, or not at all for 0. */
  wrap(columns: number): void {
    if (columns === this.columns) return;
    this.columns = columns;
    this.offsets = [0];
    if (columns === 0) return;
    let offset = 0;
    for (const line of this.lines) this.offsets.push((offset += this.rows(line)));
  }

  /** Rows that one line takes. */
  rowsOf(index: number): number {
    const line = this.lines[index];
    return this.columns > 0 && line ? this.rows(line) : 1;
  }

  /** Rows before a line. */
  rowOf(index: number): number {
    return this.columns > 0 ? (this.offsets[index] ?? 0) : index;
  }

  /** What is to be drawn for rows from `top` on, with some more on both sides. */
  window(top: number, rows: number, spare = 12): Window {
    const { length } = this.lines;
    const first = Math.max(0, this.lineAt(top) - spare);
    const end = Math.min(length, this.lineAt(top + rows) + 1 + spare);
    return { first, end, above: this.rowOf(first), total: this.rowOf(length) };
  }

  /** The indexes of the lines that hold a text, whatever its case. */
  search(text: string): number[] {
    const wanted = text.toLowerCase();
    if (wanted === "") return [];
    const found: number[] = [];
    for (const [index, line] of this.lines.entries()) {
      if (line.text.toLowerCase().includes(wanted) || line.address.toLowerCase().includes(wanted)) found.push(index);
    }
    return found;
  }

  private rows(line: LogLine): number {
    const length = (line.address ? line.address.length + 2 : 0) + width(line.text);
    return Math.max(1, Math.ceil(length / this.columns));
  }

  /** The line that is at a row. */
  private lineAt(row: number): number {
    if (this.columns === 0) return Math.min(Math.max(0, Math.floor(row)), this.lines.length);
    let [low, high] = [0, this.lines.length];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.offsets[middle] ?? 0) <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Columns of a text: those of East Asia and pictures take two. */
function width(text: string): number {
  let columns = 0;
  for (const char of text) columns += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u.test(char) ? 2 : 1;
  return columns;
}

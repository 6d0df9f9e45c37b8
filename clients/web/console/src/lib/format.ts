import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";

/** Milliseconds since 1970. */
export const ms = (time: Timestamp | undefined): number | undefined => (time ? timestampMs(time) : undefined);

const UNITS: [name: string, milliseconds: number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];

/** `3 d 4 h`, `12 min`, `4.2 s`, `120 ms`: two units at most, the second only where it matters. */
export function duration(milliseconds: number): string {
  if (milliseconds < 0) return duration(0);
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(Math.floor(milliseconds / 100) / 10).toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => milliseconds >= size);
  const [unit, size] = UNITS[at] ?? ["s", 1_000];
  const whole = Math.floor(milliseconds / size);
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((milliseconds % size) / next[1]) : 0;
  return rest > 0 && whole < 10 && next ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

/** `just now`, `4 min ago`, `in 2 h`. */
export function relative(time: number, now: number): string {
  const away = Math.abs(now - time);
  if (away < 5_000) return "just now";
  const [unit, size] = UNITS.find(([, size]) => away >= size) ?? ["s", 1_000];
  const text = `${Math.floor(away / size)} ${unit}`;
  return time > now ? `in ${text}` : `${text} ago`;
}

/** The exact time, in the reader's zone, with its offset. */
export function exact(time: number): string {
  const date = new Date(time);
  const pad = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const offset = -date.getTimezoneOffset();
  const zone = offset === 0 ? "UTC" : `UTC${offset > 0 ? "+" : "-"}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  return `${day} ${clock} ${zone}`;
}

/** `1,234`; with a unit of bytes `1.2 GiB`. */
export function amount(value: bigint | number, bytes = false): string {
  const number = Number(value);
  if (!bytes) return number.toLocaleString("en-US");
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [scaled, at] = [number, 0];
  while (scaled >= 1024 && at < units.length - 1) [scaled, at] = [scaled / 1024, at + 1];
  return `${at === 0 ? scaled : scaled.toFixed(1)} ${units[at]}`;
}

/** `1 resource`, `2 resources`. */
export const count = (number: number, one: string, many = `${one}s`): string => `${amount(number)} ${number === 1 ? one : many}`;

/** `sha256:3f9c2e1a…` */
export function shortDigest(digest: string): string {
  const [kind, hex] = digest.split(":");
  return hex ? `${kind}:${hex.slice(0, 10)}` : digest.slice(0, 12);
}

/** The first part of a UUIDv7 is its time and much the same for all of one hour; the last part tells runs apart. */
export const shortUid = (uid: string): string => uid.slice(-8);

/** A word of a generated enum: `AWAITING_APPROVAL` becomes `awaiting approval`. */
export function word(of: Record<number, string>, value: number): string {
  return (of[value] ?? "unknown").toLowerCase().replaceAll("_", " ");
}

/** A value in JSON as a person wants to see it: text without quotes, the rest as it is written. */
export function shown(json: string): string {
  if (json === "") return "";
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : JSON.stringify(value, null, 2);
  } catch {
    return json;
  }
}

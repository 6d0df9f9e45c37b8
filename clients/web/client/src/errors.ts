import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

/** The domain of the reasons of `freehold.common.v1.ErrorReason`. */
const DOMAIN = "freehold.dev";
/** Where an answer names its call, as logs and audit do. */
const REQUEST_ID = "x-request-id";

/** One field of a request that is wrong. */
export interface Violation {
  /** Which, for example `inputs.labels["team"]`. */
  readonly field: string;
  /** What is wrong with it, and what would be right. */
  readonly description: string;
}

/** Why a call failed. Match on `reason`, never on the text. */
export class FreeholdError extends ConnectError {
  /** A name of `ErrorReason` without its prefix, for example `QUOTA_EXCEEDED`; empty when the server did not say. */
  readonly reason: string;
  /** Facts of the reason, for example `dimension`, `limit` and `used` of a quota. */
  readonly facts: Readonly<Record<string, string>>;
  /** Every field that is wrong. */
  readonly violations: readonly Violation[];
  /** Names the call in the server's log and audit trail; empty when it did not come that far. */
  readonly requestId: string;
  /** How long to wait before another try, in milliseconds, when the server says so. */
  readonly retryAfter: number | undefined;

  private constructor(cause: ConnectError) {
    super(cause.rawMessage, cause.code, cause.metadata, undefined, cause);
    this.details = cause.details;
    const details = read(cause);
    this.reason = details.reason;
    this.facts = details.facts;
    this.violations = details.violations;
    this.requestId = details.requestId || (cause.metadata.get(REQUEST_ID) ?? "");
    this.retryAfter = details.retryAfter;
  }

  // Connect's own test knows errors by their shape, so that two copies of the library understand each other; this one does too.
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof ConnectError && "violations" in value && "reason" in value;
  }

  /** Makes whatever was thrown into an error of this kind. */
  static override from(thrown: unknown): FreeholdError {
    if (thrown instanceof FreeholdError) return thrown;
    // What fetch throws when nobody answers; it says no more than that.
    if (thrown instanceof TypeError) {
      const text = "the server cannot be reached; check the address and the connection";
      return new FreeholdError(new ConnectError(text, Code.Unavailable, undefined, undefined, thrown));
    }
    return new FreeholdError(ConnectError.from(thrown));
  }

  /** The same with UNAVAILABLE as its code: what was in the way is out of it, and the same call may be made again. */
  again(): FreeholdError {
    const error = new ConnectError(this.rawMessage, Code.Unavailable, this.metadata, undefined, this);
    error.details = this.details;
    return new FreeholdError(error);
  }

  /** Nothing was done, and the same call may well succeed later. */
  get isUnavailable(): boolean {
    return this.code === Code.Unavailable;
  }

  /** The caller has to prove anew who they are. */
  get isUnauthenticated(): boolean {
    return this.code === Code.Unauthenticated;
  }
}

interface Details {
  reason: string;
  facts: Record<string, string>;
  violations: Violation[];
  requestId: string;
  retryAfter: number | undefined;
}

/** Reads the details of `google/rpc/error_details.proto` that the server sends. */
function read(error: ConnectError): Details {
  const found: Details = { reason: "", facts: {}, violations: [], requestId: "", retryAfter: undefined };
  for (const detail of error.details) {
    if (!("type" in detail) || !("value" in detail)) continue;
    const bytes = detail.value as Uint8Array;
    try {
      switch (detail.type) {
        case "google.rpc.ErrorInfo":
          readErrorInfo(bytes, found);
          break;
        case "google.rpc.BadRequest":
          found.violations.push(...readBadRequest(bytes));
          break;
        case "google.rpc.RequestInfo":
          found.requestId = strings(bytes).get(1)?.[0] ?? "";
          break;
        case "google.rpc.RetryInfo":
          found.retryAfter = readRetryInfo(bytes);
          break;
      }
    } catch {
      // A detail that cannot be read leaves the code and the text, which say enough to go on.
    }
  }
  return found;
}

function readErrorInfo(bytes: Uint8Array, into: Details): void {
  const fields = messages(bytes);
  if (text(fields.get(2)?.[0]) !== DOMAIN) return;
  into.reason = text(fields.get(1)?.[0]);
  for (const entry of fields.get(3) ?? []) {
    const pair = strings(entry);
    into.facts[pair.get(1)?.[0] ?? ""] = pair.get(2)?.[0] ?? "";
  }
}

function readBadRequest(bytes: Uint8Array): Violation[] {
  return (messages(bytes).get(1) ?? []).map((violation) => {
    const fields = strings(violation);
    return { field: fields.get(1)?.[0] ?? "", description: fields.get(2)?.[0] ?? "" };
  });
}

function readRetryInfo(bytes: Uint8Array): number | undefined {
  const delay = messages(bytes).get(1)?.[0];
  if (delay === undefined) return undefined;
  const reader = new BinaryReader(delay);
  let milliseconds = 0;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1 && type === WireType.Varint) milliseconds += Number(reader.int64()) * 1000;
    else if (field === 2 && type === WireType.Varint) milliseconds += reader.int32() / 1e6;
    else reader.skip(type);
  }
  return milliseconds;
}

/** The fields of a message that have a length, by their numbers. */
function messages(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type !== WireType.LengthDelimited) {
      reader.skip(type);
      continue;
    }
    const value = reader.bytes();
    const before = fields.get(field);
    if (before) before.push(value);
    else fields.set(field, [value]);
  }
  return fields;
}

function strings(bytes: Uint8Array): Map<number, string[]> {
  return new Map([...messages(bytes)].map(([field, values]) => [field, values.map(text)]));
}

function text(bytes: Uint8Array | undefined): string {
  return bytes ? new TextDecoder().decode(bytes) : "";
}

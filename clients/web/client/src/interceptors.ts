import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";

import { FreeholdError } from "./errors.js";
import type { TokenSource } from "./tokens.js";
import { backoff, wait } from "./wait.js";

type Request = UnaryRequest | StreamRequest;

/** Calls of one method are made so often at most. */
const ATTEMPTS = 4;
/** The first wait between two of them, and the longest, in milliseconds. */
const FIRST_WAIT = 100;
const LONGEST_WAIT = 3_000;
/** A server that asks for a longer pause is believed, and the error shown instead. */
const PATIENCE = 10_000;

/** A call changes nothing, as the contract says it. */
export function reads(request: Request): boolean {
  return request.method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/** Gives every write a request id, so that it can be repeated without harm. */
export const requestIds: Interceptor = (next) => (request) => {
  if (request.stream || reads(request) || !("requestId" in request.method.input.field)) return next(request);
  const message = request.message as typeof request.message & { requestId: string };
  if (message.requestId !== "") return next(request);
  return next({ ...request, message: { ...message, requestId: crypto.randomUUID() } } as UnaryRequest);
};

/** Repeats what was not answered: reads, and writes that their request id protects. */
export const retries: Interceptor = (next) => async (request) => {
  if (request.stream || !(reads(request) || "requestId" in request.method.input.field)) return next(request);
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (thrown) {
      const error = FreeholdError.from(thrown);
      const passes = error.code === Code.Unavailable || error.reason === "RATE_LIMITED";
      const pause = (error.retryAfter ?? 0) + backoff(attempt, FIRST_WAIT, LONGEST_WAIT);
      if (!passes || attempt === ATTEMPTS || pause > PATIENCE || request.signal.aborted) throw error;
      await wait(pause, request.signal);
    }
  }
};

/** Says who calls. A token that has expired is replaced once. */
export function authorization(tokens: TokenSource): Interceptor {
  return (next) => async (request) => {
    if (request.method.name === "ExchangeToken") return next(request);
    const token = await tokens.get();
    if (token === undefined) return next(request);
    request.header.set("authorization", `Bearer ${token}`);
    const renewed = async (error: FreeholdError) => error.reason === "TOKEN_EXPIRED" && (await tokens.expired(token));
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: proven(response.message, renewed) } : response;
    } catch (thrown) {
      const error = FreeholdError.from(thrown);
      if (!(await renewed(error))) throw error;
      // The one message of a stream's request is gone by then; who opens the stream opens it again.
      if (request.stream) throw error.again();
      const another = await tokens.get();
      if (another === undefined) throw error;
      request.header.set("authorization", `Bearer ${another}`);
      return next(request);
    }
  };
}

/** A stream whose token may expire while it is open: it ends then, and can be opened again when there is another token. */
async function* proven<T>(messages: AsyncIterable<T>, renewed: (error: FreeholdError) => Promise<boolean>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    const error = FreeholdError.from(thrown);
    throw (await renewed(error)) ? error.again() : error;
  }
}

/** Names the tenant that a caller of the installation acts in. */
export function tenantHeader(tenant: string): Interceptor {
  return (next) => (request) => {
    request.header.set("x-freehold-tenant", tenant);
    return next(request);
  };
}

/** Makes whatever is thrown a `FreeholdError`, also from within a stream. */
export const errors: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: readable(response.message) } : response;
  } catch (thrown) {
    // Whoever has called this off is to find their own reason.
    if (request.signal.aborted) throw thrown;
    throw FreeholdError.from(thrown);
  }
};

async function* readable<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw FreeholdError.from(thrown);
  }
}

import { type Connection, type Exchanged, ExchangedTokens, FreeholdError, type TokenSource, connect, readToken } from "@freehold/client/core";
import { type AuthorizationCodeSchema, type ExchangeTokenResponse, TokenService } from "@freehold/client/gen/freehold/iam/v1/token_service_pb";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import { Store } from "./store.js";

/** Where the token is kept: in this tab, until it is closed. An API key is kept in no place, only in memory. */
const KEPT = "freehold.token";
/**
 * Where that is kept which renews a sign-in by the identity provider: beside the token, so that a page that is loaded anew goes on. It
 * opens nothing elsewhere, since only the server can read it; whoever reads this tab's storage can act in it anyway; and the
 * storage that tabs share would let two of them use it at once, which providers take for theft.
 */
const RENEWS = "freehold.refresh-token";

/** Who is signed in. */
export interface Session {
  /** For example `platform/admin` or `tenants/acme/users/ada`. */
  readonly principal: string;
  /** Id of the principal's tenant; empty for those of the installation. */
  readonly tenant: string;
}

/** Who is signed in, or why nobody is. */
export type SignedIn = { readonly session: Session } | { readonly session: undefined; readonly why: "nobody" | "over" };

export const signedIn = new Store<SignedIn>({ session: undefined, why: "nobody" });

let token: string | undefined;
/** Gets the next token; absent where there will be none. */
let source: ExchangedTokens | undefined;

const tokens: TokenSource = {
  async get() {
    return source ? source.get() : token;
  },
  async expired(stale) {
    if (source) return source.expired(stale);
    endSession("over");
    return false;
  },
};

/** The installation that serves this page. */
export const freehold: Connection = connect({ baseUrl: location.origin, tokens });

/** Takes the token of a sign-in link or of this tab. A token in the address is taken out of it at once, and out of the history. */
export function resumeSession(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    source = undefined;
    keep(given, "");
  }
  const kept = sessionStorage.getItem(KEPT);
  if (kept === null || (given === null && signedIn.get().session)) return;
  if (sessionStorage.getItem(RENEWS)) source = renewing(kept);
  if (!begin(kept)) endSession("over");
}

/** Signs in with an API key. */
export async function signInWithKey(apiKey: string): Promise<void> {
  const mine = new ExchangedTokens(
    async () => exchanged(await freehold.client(TokenService).exchangeToken({ apiKey })),
    (fresh) => source === mine && keep(fresh, ""),
  );
  const first = await mine.get();
  source = mine;
  keep(first, "");
  begin(first);
}

/** Signs in with what the identity provider has sent the person back with. */
export async function signInWithCode(authorizationCode: MessageInitShape<typeof AuthorizationCodeSchema>): Promise<void> {
  const answer = await freehold.client(TokenService).exchangeToken({ authorizationCode });
  keep(answer.token, answer.refreshToken);
  source = answer.refreshToken ? renewing(answer.token) : undefined;
  begin(answer.token);
}

/** Forgets who was signed in. Whoever signs out is forgotten by the identity provider as well, if it can be reached. */
export function endSession(why: "nobody" | "over"): void {
  const refreshToken = sessionStorage.getItem(RENEWS);
  [token, source] = [undefined, undefined];
  sessionStorage.removeItem(KEPT);
  sessionStorage.removeItem(RENEWS);
  signedIn.set({ session: undefined, why });
  if (why === "nobody" && refreshToken) void freehold.client(TokenService).revokeRefreshToken({ refreshToken }).catch(() => {});
}

/** Ends the session when an error says that it is over. */
export function noticeError(thrown: unknown): FreeholdError {
  const error = FreeholdError.from(thrown);
  if (error.isUnauthenticated && signedIn.get().session) endSession("over");
  return error;
}

/** Tokens that begin with this one and are renewed by what each exchange gives for the next. Nothing is kept once somebody has signed out. */
function renewing(first: string): ExchangedTokens {
  const mine = new ExchangedTokens(
    async () => {
      const answer = await freehold.client(TokenService).exchangeToken({ refreshToken: sessionStorage.getItem(RENEWS) ?? "" });
      if (source === mine) keep(answer.token, answer.refreshToken);
      return exchanged(answer);
    },
    undefined,
    undefined,
    first,
  );
  return mine;
}

function exchanged({ token, expireTime }: ExchangeTokenResponse): Exchanged {
  return { token, expires: expireTime ? timestampMs(expireTime) : 0 };
}

function keep(fresh: string, refreshToken: string): void {
  sessionStorage.setItem(KEPT, fresh);
  if (refreshToken) sessionStorage.setItem(RENEWS, refreshToken);
  else sessionStorage.removeItem(RENEWS);
}

function begin(taken: string): boolean {
  const claims = readToken(taken);
  if (!claims || (!source && claims.expires * 1000 < Date.now())) return false;
  token = taken;
  const tenant = /^tenants\/([^/]+)\//.exec(claims.principal)?.[1] ?? "";
  signedIn.set({ session: { principal: claims.principal, tenant } });
  return true;
}

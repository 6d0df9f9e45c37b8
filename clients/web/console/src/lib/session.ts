import { ApiKeyTokens, type Connection, FreeholdError, type TokenSource, connect, readToken } from "@freehold/client/core";
import { TokenService } from "@freehold/client/gen/freehold/iam/v1/token_service_pb";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import { Store } from "./store.js";

/** Where the token is kept: in this tab, until it is closed. An API key is kept in no place, only in memory. */
const KEPT = "freehold.token";

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
let keys: ApiKeyTokens | undefined;

const tokens: TokenSource = {
  async get() {
    return keys ? keys.get() : token;
  },
  async expired(stale) {
    if (keys) return keys.expired(stale);
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
    keys = undefined;
    sessionStorage.setItem(KEPT, given);
  }
  const kept = sessionStorage.getItem(KEPT);
  if (kept === null || (given === null && signedIn.get().session)) return;
  if (!begin(kept)) endSession("over");
}

/** Signs in with an API key. */
export async function signInWithKey(apiKey: string): Promise<void> {
  const exchange = async () => {
    const answer = await freehold.client(TokenService).exchangeToken({ apiKey });
    return { token: answer.token, expires: answer.expireTime ? timestampMs(answer.expireTime) : 0 };
  };
  const source = new ApiKeyTokens(exchange, (fresh) => sessionStorage.setItem(KEPT, fresh));
  const first = await source.get();
  keys = source;
  begin(first);
}

/** Forgets who was signed in. */
export function endSession(why: "nobody" | "over"): void {
  [token, keys] = [undefined, undefined];
  sessionStorage.removeItem(KEPT);
  signedIn.set({ session: undefined, why });
}

/** Ends the session when an error says that it is over. */
export function noticeError(thrown: unknown): FreeholdError {
  const error = FreeholdError.from(thrown);
  if (error.isUnauthenticated && signedIn.get().session) endSession("over");
  return error;
}

function begin(taken: string): boolean {
  const claims = readToken(taken);
  if (!claims || (!keys && claims.expires * 1000 < Date.now())) return false;
  token = taken;
  const tenant = /^tenants\/([^/]+)\//.exec(claims.principal)?.[1] ?? "";
  signedIn.set({ session: { principal: claims.principal, tenant } });
  return true;
}

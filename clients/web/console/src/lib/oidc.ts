import { FreeholdError } from "@freehold/client/core";
import type { SignInOptions } from "@freehold/client/gen/freehold/iam/v1/token_service_pb";

import { go } from "./router.jsx";
import { noticeError, signInWithCode } from "./session.js";
import { Store } from "./store.js";

/** Where the identity provider sends people back to; it must know this address. */
export const RETURN = "/signin";
/** What is remembered while the person is away: in this tab, so that nobody else's way back fits it. */
const BEGUN = "freehold.sign-in";

interface Begun {
  state: string;
  nonce: string;
  verifier: string;
  issuer: string;
  tenant: string;
  back: string;
}

/** Whether a person who has come back is being let in, or why they were not. */
export const comingBack = new Store<{ readonly busy: boolean; readonly error?: FreeholdError }>({ busy: false });

/** Sends the browser to the identity provider, for a user of this tenant (its id). */
export async function leave({ issuer, clientId, authorizationEndpoint, scopes }: SignInOptions, tenant: string): Promise<void> {
  const { pathname, search, hash } = location;
  const back = pathname === RETURN || pathname.startsWith("//") ? "/" : pathname + search + hash;
  const begun: Begun = { state: random(), nonce: random(), verifier: random(), issuer, tenant, back };
  const url = new URL(authorizationEndpoint);
  const asked = {
    response_type: "code",
    client_id: clientId,
    redirect_uri: location.origin + RETURN,
    scope: scopes.join(" "),
    state: begun.state,
    nonce: begun.nonce,
    code_challenge: base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(begun.verifier)))),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  // Without it, what was asked for is passed over (OpenID Connect Core, section 11).
  if (scopes.includes("offline_access")) url.searchParams.set("prompt", "consent");
  sessionStorage.setItem(BEGUN, JSON.stringify(begun));
  location.assign(url);
}

/** Lets a person in whom the identity provider has sent back. What it says is out of address and history before anything else happens. */
export async function comeBack(): Promise<void> {
  if (location.pathname !== RETURN) return;
  const said = new URLSearchParams(location.search);
  const kept = sessionStorage.getItem(BEGUN);
  sessionStorage.removeItem(BEGUN);
  const begun = kept === null ? undefined : (JSON.parse(kept) as Begun);
  go(begun?.back ?? "/", "replace");
  if (!said.has("code") && !said.has("error")) return;
  const code = said.get("code");
  const issuer = said.get("iss") ?? begun?.issuer;
  if (!begun || said.get("state") !== begun.state || issuer !== begun.issuer) return fail("this sign-in was not begun in this tab, or not just now; begin again");
  if (!code) return fail(`the identity provider has let nobody in (${said.get("error") ?? ""}); begin again, or ask whoever manages it`);
  comingBack.set({ busy: true });
  try {
    const { tenant, verifier, nonce } = begun;
    await signInWithCode({ tenant: `tenants/${tenant}`, code, codeVerifier: verifier, redirectUri: location.origin + RETURN, nonce });
    comingBack.set({ busy: false });
  } catch (thrown) {
    comingBack.set({ busy: false, error: noticeError(thrown) });
  }
}

function fail(text: string): void {
  comingBack.set({ busy: false, error: FreeholdError.from(new Error(text)) });
}

/** 256 bits that nobody guesses. */
function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

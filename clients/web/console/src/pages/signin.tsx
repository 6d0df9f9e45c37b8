import type { FreeholdError } from "@freehold/client/core";
import { type SignInOptions, TokenService } from "@freehold/client/gen/freehold/iam/v1/token_service_pb";
import { useEffect, useRef, useState } from "preact/hooks";

import { comingBack, leave } from "../lib/oidc.js";
import { freehold, noticeError, signInWithKey } from "../lib/session.js";
import { useStore } from "../lib/store.js";
import { chooseTenant, currentTenant } from "../lib/tenant.js";
import { Cli, ErrorView } from "../parts/ui.jsx";

/** Asks who it is: by the identity provider, where there is one, or by an API key. The address stays, so that a link that was followed leads on afterwards. */
export function SignIn({ why }: { why: "nobody" | "over" }) {
  const [options, setOptions] = useState<SignInOptions>();
  const [unknown, setUnknown] = useState<FreeholdError>();
  const key = useRef<HTMLInputElement>(null);
  const tenant = useRef<HTMLInputElement>(null);
  const ask = async () => {
    setUnknown(undefined);
    try {
      setOptions((await freehold.client(TokenService).getSignInOptions({})).signInOptions);
    } catch (thrown) {
      setUnknown(noticeError(thrown));
    }
  };
  useEffect(() => {
    document.title = "Sign in · Freehold";
    key.current?.focus();
    void ask();
  }, []);
  useEffect(() => {
    // Unless somebody has begun to type.
    if (options && !key.current?.value) tenant.current?.focus();
  }, [options]);
  return (
    <main class="signin" id="content">
      <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="7" />
        <path d="M9 24V8h14v4H13.500v3.600H21v3.800h-7.500V24z" />
      </svg>
      <h1>Sign in to Freehold</h1>
      {why === "over" && (
        <p class="notice" role="status">
          Your session is over. Sign in again, and you are back where you were.
        </p>
      )}
      {unknown && <ErrorView error={unknown} retry={ask} />}
      {options && <ByProvider options={options} input={tenant} />}
      {options && <p class="or">or</p>}
      <ByKey input={key} alone={!options} />
      <div class="aside">
        <p>You have no key? Whoever manages your tenant can make one:</p>
        <Cli line="freehold api-key create users/NAME --days 30" />
        <p>
          An installation on your own machine prints a link that signs you in when <code>freehold dev</code> starts.
        </p>
      </div>
    </main>
  );
}

type Input = { input: { current: HTMLInputElement | null } };

function ByProvider({ options, input }: Input & { options: SignInOptions }) {
  const { busy, error } = useStore(comingBack);
  const [tenant, setTenant] = useState(currentTenant.get());
  const [leaving, setLeaving] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    const id = tenant.trim();
    chooseTenant(id);
    setLeaving(true);
    try {
      await leave(options, id);
    } catch (thrown) {
      comingBack.set({ busy: false, error: noticeError(thrown) });
      setLeaving(false);
    }
  };
  return (
    <form onSubmit={submit}>
      <label for="tenant">Tenant</label>
      <input
        ref={input}
        id="tenant"
        type="text"
        autocomplete="organization"
        autocapitalize="off"
        spellcheck={false}
        required
        pattern="[a-z][a-z0-9\-]{0,62}"
        title="the id of a tenant, for example acme"
        aria-describedby="tenant-help"
        value={tenant}
        onInput={(event) => setTenant(event.currentTarget.value)}
      />
      <p id="tenant-help" class="help">
        The tenant whose user you are; its id is in every address of it, after <code>/t/</code>.
      </p>
      {error && <ErrorView error={error} />}
      <button type="submit" class="button primary" disabled={busy || leaving || tenant.trim() === ""}>
        {busy ? "Signing in…" : `Sign in with ${new URL(options.issuer).host}`}
      </button>
    </form>
  );
}

function ByKey({ input, alone }: Input & { alone: boolean }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FreeholdError>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await signInWithKey(key.trim());
    } catch (thrown) {
      setError(noticeError(thrown));
      setBusy(false);
      input.current?.focus();
    }
  };
  return (
    <form onSubmit={submit}>
      <label for="key">API key</label>
      <input
        ref={input}
        id="key"
        type="password"
        autocomplete="off"
        spellcheck={false}
        required
        aria-describedby="key-help"
        value={key}
        onInput={(event) => setKey(event.currentTarget.value)}
      />
      <p id="key-help" class="help">
        It is exchanged for a token that lives for 15 minutes and is renewed while this page is open. The key itself is not kept.
      </p>
      {error && <ErrorView error={error} />}
      <button type="submit" class={alone ? "button primary" : "button"} disabled={busy || key.trim() === ""}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}

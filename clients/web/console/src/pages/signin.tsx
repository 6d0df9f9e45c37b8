import type { FreeholdError } from "@freehold/client/core";
import { useEffect, useRef, useState } from "preact/hooks";

import { noticeError, signInWithKey } from "../lib/session.js";
import { Cli, ErrorView } from "../parts/ui.jsx";

/** Asks for an API key. The address stays, so that a link that was followed leads on afterwards. */
export function SignIn({ why }: { why: "nobody" | "over" }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FreeholdError>();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Sign in · Freehold";
    input.current?.focus();
  }, []);
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
        <button type="submit" class="button primary" disabled={busy || key.trim() === ""}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
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

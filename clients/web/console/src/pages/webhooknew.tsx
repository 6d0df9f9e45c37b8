import type { FreeholdError } from "@freehold/client/core";
import type { WebhookEndpoint } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";
import { useEffect, useState } from "preact/hooks";

import { api, given } from "../lib/api.js";
import { WEBHOOK_FIELDS, webhookCli, webhookFaults } from "../lib/integrations.js";
import { lastPart, pathOf } from "../lib/names.js";
import { Link } from "../lib/router.jsx";
import { type Draft, type Json, emptyDraft, readForm } from "../lib/schema.js";
import { noticeError } from "../lib/session.js";
import { FieldView, idOf } from "../parts/field.jsx";
import { SecretOnce } from "../parts/secret.jsx";
import { Cli, ErrorView, Page, Panel } from "../parts/ui.jsx";

/** How long nobody has to write before the server is asked what it thinks, in milliseconds. */
const PAUSE = 600;

/** Makes a receiver of events, and shows its secret. */
export function NewWebhook({ tenant }: { tenant: string }) {
  const [made, setMade] = useState<{ endpoint: WebhookEndpoint; secret: string }>();
  const home = pathOf(tenant) ?? "/";
  return (
    <Page
      kind={made ? "Webhook" : "Create"}
      title={made ? lastPart(made.endpoint.name) : "webhook endpoint"}
      crumbs={[
        { text: lastPart(tenant), to: home },
        { text: "Webhooks", to: `${home}/webhooks` },
      ]}
    >
      {made ? (
        <SecretOnce secret={made.secret}>
          <p class="actions">
            <Link to={pathOf(made.endpoint.name) ?? "/"} class="button primary">
              Show the endpoint
            </Link>
          </p>
        </SecretOnce>
      ) : (
        <Form tenant={tenant} done={(endpoint, secret) => setMade({ endpoint, secret })} />
      )}
    </Page>
  );
}

function Form({ tenant, done }: { tenant: string; done: (endpoint: WebhookEndpoint, secret: string) => void }) {
  const [drafts, setDrafts] = useState<Record<string, Draft>>(() => Object.fromEntries(WEBHOOK_FIELDS.map(({ name, type }) => [name, emptyDraft(type)])));
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const [sent, setSent] = useState(false);
  const [refused, setRefused] = useState<{ of: string; error: FreeholdError }>();
  const [busy, setBusy] = useState(false);
  const { inputs, faults: own } = readForm(WEBHOOK_FIELDS, drafts);
  const state = JSON.stringify(inputs);

  // The server knows which addresses are allowed, and reads the expression. It is asked while somebody writes, and changes nothing.
  useEffect(() => {
    if (own.size > 0) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      send(tenant, inputs, true, stop.signal).then(
        () => setRefused(undefined),
        (thrown: unknown) => {
          if (!stop.signal.aborted) setRefused({ of: state, error: noticeError(thrown) });
        },
      );
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [state]);

  const error = refused && (refused.of === state || busy) ? refused.error : undefined;
  const said = webhookFaults(error?.violations ?? []);
  // What is wrong is said once a field was left, or everything when it is sent.
  const faults = new Map([...said, ...[...own].filter(([field]) => sent || touched.has(topOf(field)))]);
  const known = new Set(WEBHOOK_FIELDS.map(({ name }) => `inputs.${name}`));
  const elsewhere = [...said.keys()].some((field) => !known.has(topOf(field)));

  const submit = async (event: Event) => {
    event.preventDefault();
    setSent(true);
    const [first] = own.keys();
    if (first !== undefined) return focus(first);
    setBusy(true);
    try {
      const { webhookEndpoint, secret } = await send(tenant, inputs, false);
      done(given(webhookEndpoint), secret);
    } catch (thrown) {
      const error = noticeError(thrown);
      setRefused({ of: state, error });
      setBusy(false);
      const [wrong] = webhookFaults(error.violations).keys();
      if (wrong) focus(wrong);
    }
  };
  return (
    <form class="deploy" noValidate onSubmit={submit}>
      <Panel title="What it is sent, and where">
        {WEBHOOK_FIELDS.map((field) => (
          <div key={field.name} onFocusOut={() => setTouched((before) => new Set([...before, `inputs.${field.name}`]))}>
            <FieldView
              field={field}
              path={`inputs.${field.name}`}
              draft={drafts[field.name]}
              form={{ faults }}
              change={(draft) => setDrafts((before) => ({ ...before, [field.name]: draft }))}
            />
          </div>
        ))}
      </Panel>
      {error && (error.violations.length === 0 || elsewhere) && <ErrorView error={error} />}
      <div class="submit">
        <div class="actions">
          <button type="submit" class="button primary" disabled={busy}>
            {busy ? "Creating…" : "Create"}
          </button>
        </div>
        <p class="fine">It is sent what happens from then on. Its secret is shown once, on the next page.</p>
      </div>
      <details class="cli-same">
        <summary>The same on the command line</summary>
        <Cli line={webhookCli(inputs)} />
      </details>
    </form>
  );
}

/** Asks the server to make it, or only whether it would. */
function send(parent: string, inputs: Record<string, Json>, validateOnly: boolean, signal?: AbortSignal) {
  const text = (name: string) => (typeof inputs[name] === "string" ? inputs[name] : "");
  const kinds = (Array.isArray(inputs["kinds"]) ? inputs["kinds"] : []).filter((kind) => typeof kind === "string");
  const webhookEndpoint = { url: text("url"), below: text("below"), filter: text("filter"), kinds, ordered: inputs["ordered"] === true };
  return api.webhooks.createWebhookEndpoint({ parent, webhookEndpointId: text("name"), webhookEndpoint, validateOnly }, signal ? { signal } : {});
}

const focus = (field: string) => document.getElementById(idOf(field))?.focus();

/** The field of the form that a part belongs to: `inputs.kinds` for `inputs.kinds[0]`. */
const topOf = (field: string): string => /^inputs\.\w+/.exec(field)?.[0] ?? field;

import type { FreeholdError } from "@freehold/client/core";
import type { BlueprintVersion } from "@freehold/client/gen/freehold/blueprints/v1/blueprint_pb";
import { useEffect, useMemo, useState } from "preact/hooks";

import { api } from "../lib/api.js";
import { pathOf, shortName } from "../lib/names.js";
import { go } from "../lib/router.jsx";
import { type Draft, type Json, draftOf, emptyDraft, fieldsOf, readForm } from "../lib/schema.js";
import { noticeError } from "../lib/session.js";
import { FieldView, idOf } from "./field.jsx";
import { Cli, ErrorView, Panel } from "./ui.jsx";

/** What a form sends. */
export interface Sent {
  /** Id of the deployment; empty where the form does not ask for one. */
  readonly name: string;
  readonly inputs: Record<string, Json>;
  /** The server is to check it and to change nothing. */
  readonly validateOnly: boolean;
  readonly signal?: AbortSignal | undefined;
}

interface InputFormProps {
  version: BlueprintVersion;
  /** The environment of a new deployment, whose name is asked for. */
  place?: string;
  /** The inputs of a deployment that is there: its secrets are kept where nothing is given, and what is immutable is not asked for. */
  present?: Record<string, Json>;
  /** Asks the server; answers the name of the deployment. */
  send: (sent: Sent) => Promise<string>;
  words: { only: string; plans: string };
  /** The same on the command line. */
  cli: (name: string, inputs: Record<string, Json>, secret: ReadonlySet<string>) => string;
}

const ID = /^[a-z][a-z0-9-]{0,62}$/;
/** The field of the name, as the server calls it. */
const NAME = "deployment_id";
/** How long nobody has to write before the server is asked what it thinks, in milliseconds. */
const PAUSE = 600;

/** The inputs of a deployment, as the schema of its blueprint asks for them. All that is wrong is said at its field. */
export function InputForm({ version, place, present, send, words, cli }: InputFormProps) {
  const fields = useMemo(() => {
    const all = fieldsOf(version.inputSchema);
    if (!present) return all;
    return all.filter((field) => !field.type.immutable).map((field) => (field.type.sensitive ? { ...field, required: false } : field));
  }, [version]);
  const [name, setName] = useState("");
  const [drafts, setDrafts] = useState<Record<string, Draft>>(() =>
    Object.fromEntries(fields.map(({ name, type }) => [name, present && name in present ? draftOf(type, present[name]) : emptyDraft(type)])),
  );
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const [sent, setSent] = useState(false);
  const [refused, setRefused] = useState<{ of: string; error: FreeholdError }>();
  const [busy, setBusy] = useState(false);

  const { inputs, faults: own } = readForm(fields, drafts);
  if (place && name === "") own.set(NAME, "is required");
  else if (place && !ID.test(name)) own.set(NAME, "begins with a small letter, and has small letters, digits and - after it, 63 at most");
  const state = JSON.stringify([name, inputs]);

  // The server knows rules between inputs, names that are taken and quotas. It is asked while somebody writes, and changes nothing.
  useEffect(() => {
    if (own.size > 0) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      send({ name, inputs, validateOnly: true, signal: stop.signal }).then(
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

  // What is wrong is said once a field was left, or everything when it is sent; what the server said goes when it is mended.
  const faults = new Map([...own].filter(([field]) => sent || touched.has(topOf(field))));
  const known = new Set([...(place ? [NAME] : []), ...fields.map((field) => `inputs.${field.name}`)]);
  const error = refused && (refused.of === state || busy) ? refused.error : undefined;
  const elsewhere = error?.violations.filter(({ field }) => !known.has(topOf(plain(field)))) ?? [];
  for (const { field, description } of error?.violations ?? []) if (!faults.has(plain(field))) faults.set(plain(field), description);

  const submit = async (plans: boolean) => {
    setSent(true);
    const first = [...own.keys()][0];
    if (first !== undefined) return void document.getElementById(idOf(first))?.focus();
    setBusy(true);
    try {
      const deployment = await send({ name, inputs, validateOnly: false });
      const run = plans ? (await api.runs.planDeployment({ name: deployment })).run : undefined;
      go(pathOf(run?.name ?? deployment) ?? "/");
    } catch (thrown) {
      const error = noticeError(thrown);
      setRefused({ of: state, error });
      setBusy(false);
      const wrong = error.violations[0];
      if (wrong) document.getElementById(idOf(plain(wrong.field)))?.focus();
    }
  };
  const secret = new Set(fields.filter((field) => field.type.sensitive).map((field) => field.name));
  const touch = (field: string) => setTouched((before) => new Set([...before, field]));
  return (
    <form
      class="deploy"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit(true);
      }}
    >
      {place && (
        <Panel title="Deployment">
          <div class={faults.has(NAME) ? "field wrong" : "field"} onFocusOut={() => touch(NAME)}>
            <label for={idOf(NAME)}>
              <span class="field-name">name</span> <span class="must">required</span>
            </label>
            <input
              id={idOf(NAME)}
              type="text"
              autocomplete="off"
              spellcheck={false}
              aria-invalid={faults.has(NAME)}
              aria-describedby={`${idOf(NAME)}-help ${idOf(NAME)}-fault`}
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
            <p class="help" id={`${idOf(NAME)}-help`}>
              {name ? `${shortName(place)}/${name}` : `Its place is ${shortName(place)}.`}
            </p>
            {faults.has(NAME) && (
              <p class="fault" id={`${idOf(NAME)}-fault`}>
                {faults.get(NAME)}
              </p>
            )}
          </div>
        </Panel>
      )}
      <Panel title="Inputs" note={fields.length}>
        {fields.length === 0 && <p class="quiet">There is nothing to give.</p>}
        {fields.map((field) => (
          <div key={field.name} onFocusOut={() => touch(`inputs.${field.name}`)}>
            <FieldView
              field={field}
              path={`inputs.${field.name}`}
              draft={drafts[field.name]}
              form={{ faults, keepsSecrets: present !== undefined }}
              change={(draft) => setDrafts((before) => ({ ...before, [field.name]: draft }))}
            />
          </div>
        ))}
      </Panel>
      {error && (error.violations.length === 0 || elsewhere.length > 0) && <ErrorView error={error} />}
      <div class="submit">
        <div class="actions">
          <button type="button" class="button" disabled={busy} onClick={() => submit(false)}>
            {words.only}
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            {words.plans}
          </button>
        </div>
        <p class="fine">A plan shows what would be made. Nothing is made before it is approved or applied.</p>
      </div>
      <details class="cli-same">
        <summary>The same on the command line</summary>
        <Cli line={cli(name, inputs, secret)} />
      </details>
    </form>
  );
}

/** A field of the server as this form names it. */
const plain = (field: string): string => field.replace(/^deployment\./, "");

/** The field of the form that a part belongs to: `inputs.tags` for `inputs.tags["team"]`. */
function topOf(field: string): string {
  return /^inputs\.\w+/.exec(field)?.[0] ?? field;
}

import { BreakerState, type Connection, type ConnectionCheck, ConnectionState, InboundMessageState } from "@freehold/client/gen/freehold/integrations/v1/connection_pb";
import { type WebhookAttempt, type WebhookDelivery, WebhookDeliveryState, type WebhookEndpoint, WebhookEndpointState } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";

import type { Tone } from "../parts/icons.jsx";
import { ms, word } from "./format.js";
import { type Json, fieldsOf, quoted } from "./schema.js";

/** A state: its word and its shape. */
export interface Verdict {
  readonly word: string;
  readonly tone: Tone;
}

/** How a receiver of events fares. */
export function endpointVerdict({ state, failingSince }: Pick<WebhookEndpoint, "state" | "failingSince">): Verdict {
  if (state === WebhookEndpointState.DISABLED) return { word: "disabled", tone: "idle" };
  return failingSince ? { word: "failing", tone: "bad" } : { word: "enabled", tone: "good" };
}

/** Where a delivery stands: one that has failed and is tried again says so. */
export function deliveryVerdict({ state, attemptCount }: Pick<WebhookDelivery, "state" | "attemptCount">): Verdict {
  if (state === WebhookDeliveryState.DELIVERED) return { word: "delivered", tone: "good" };
  if (state === WebhookDeliveryState.FAILED) return { word: "given up", tone: "bad" };
  return attemptCount > 0 ? { word: "is retried", tone: "wait" } : { word: "pending", tone: "work" };
}

/** What came of one try. */
export function attemptVerdict({ status, error }: Pick<WebhookAttempt, "status" | "error">): Verdict {
  const answer = status > 0 ? `answered ${status}` : "no answer";
  return error === "" && status > 0 ? { word: answer, tone: "good" } : { word: answer, tone: "bad" };
}

/** Whether the server keeps of a header the name only, as its value may be a secret. */
export const isMasked = (value: string): boolean => value === "" || value === "(hidden)";

/** States of deliveries that can be chosen, as the address has them. */
export const DELIVERY_STATES: Readonly<Record<string, WebhookDeliveryState>> = {
  pending: WebhookDeliveryState.PENDING,
  delivered: WebhookDeliveryState.DELIVERED,
  failed: WebhookDeliveryState.FAILED,
};

/** What an endpoint is sent, in a few words. */
export function wants({ kinds, below, filter, name }: Pick<WebhookEndpoint, "kinds" | "below" | "filter" | "name">): string {
  const what = kinds.length === 0 ? "every event" : kinds.join(", ");
  const tenant = name.split("/").slice(0, 2).join("/");
  const where = below === "" || below === tenant ? "" : ` below ${below.slice(tenant.length + 1)}`;
  return `${what}${where}${filter ? ", filtered" : ""}`;
}

/** How soon a look at deliveries may show something new, in milliseconds; undefined when none is on its way. */
export function nextLook(deliveries: readonly Pick<WebhookDelivery, "state" | "nextAttemptTime">[], now: number): number | undefined {
  const due = deliveries.filter(({ state }) => state === WebhookDeliveryState.PENDING).map(({ nextAttemptTime }) => ms(nextAttemptTime) ?? now);
  if (due.length === 0) return undefined;
  return Math.min(Math.max(Math.min(...due) - now + 500, 2_000), 60_000);
}

/** The body of a message as a person wants to read it. */
export function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/** What a webhook endpoint is made of, as its form asks for it. */
export const WEBHOOK_FIELDS = fieldsOf(
  JSON.stringify({
    type: "object",
    required: ["url"],
    properties: {
      url: { type: "string", description: "Where deliveries are sent: an https address. Redirects are not followed" },
      name: { type: "string", pattern: "^[a-z][a-z0-9-]{0,62}$", description: "Last part of its name, for example ops; the server makes one when there is none" },
      kinds: {
        type: "array",
        items: { type: "string" },
        maxItems: 50,
        default: [],
        description: "Kinds of events: run.created, or run.* for all of one resource; none for every event",
      },
      filter: { type: "string", description: "A CEL expression over event, for example event.data.phase == 'DONE'" },
      below: { type: "string", description: "Only events of this resource and all below it, by its full name: tenants/acme/projects/shop" },
      ordered: { type: "boolean", default: false, description: "Sends one event only after all before it have arrived or were given up" },
    },
  }),
);

/** A field of the server as the form of an endpoint names it. */
export function webhookField(field: string): string {
  if (field === "webhook_endpoint_id") return "inputs.name";
  return field.replace(/^webhook_endpoint\./, "inputs.");
}

/** What the server found wrong, by the field of the form; several faults of one field are said together. */
export function webhookFaults(violations: readonly { field: string; description: string }[]): Map<string, string> {
  const faults = new Map<string, string>();
  for (const { field, description } of violations) {
    const own = webhookField(field);
    const before = faults.get(own);
    faults.set(own, before ? `${before}; ${description}` : description);
  }
  return faults;
}

/** An endpoint as the command line makes it. */
export function webhookCli(inputs: Record<string, Json>): string {
  const text = (name: string) => (typeof inputs[name] === "string" ? inputs[name] : "");
  const kinds = Array.isArray(inputs["kinds"]) ? inputs["kinds"] : [];
  const flag = (name: string, value: Json) => (typeof value === "string" && value ? ` --${name} ${quoted(value)}` : "");
  return (
    `freehold webhook create ${text("name") || "NAME"} ${quoted(text("url") || "https://…")}` +
    kinds.map((kind) => flag("kind", kind)).join("") +
    flag("filter", text("filter")) +
    flag("below", text("below")) +
    (inputs["ordered"] === true ? " --ordered" : "")
  );
}

/** Whether a connection is used. */
export function connectionVerdict({ state }: Pick<Connection, "state">): Verdict {
  return state === ConnectionState.DISABLED ? { word: "disabled", tone: "idle" } : { word: "enabled", tone: "good" };
}

/** What a test found, in a word. */
export function checkVerdict(check: Pick<ConnectionCheck, "ok" | "errorKind"> | undefined): Verdict {
  if (!check) return { word: "not tested", tone: "idle" };
  if (check.ok) return { word: "works", tone: "good" };
  return { word: check.errorKind.replaceAll("_", " ") || "does not work", tone: "bad" };
}

const STEPS: Readonly<Record<string, string>> = {
  auth: "The system does not accept the credentials. Rotate them.",
  permission: "The credentials are good and do not allow this. Give them the right over there.",
  not_found: "The system has no such thing, or hides it. Check the names in the settings.",
  conflict: "It has changed meanwhile. Test again.",
  invalid: "The system does not understand the settings. Mend them.",
  throttled: "Too many calls were made. Nothing was done; test again later.",
  transient: "The system is down or out of reach. Test again later.",
  permanent: "The system refuses, and will again. What it says is above.",
  circuit_open: "It was not asked, because it failed several times in a row. Test again in a moment.",
  unconfigured: "It is disabled, a credential is missing or wrong, or the address may not be reached.",
};

/** What to do about a test that failed. */
export const nextStep = ({ errorKind }: Pick<ConnectionCheck, "errorKind">): string => STEPS[errorKind] ?? "Test again, and look into the log of the server.";

/** What is done with calls after failures. */
export function breakerVerdict(state: BreakerState): Verdict {
  if (state === BreakerState.OPEN) return { word: "calls are refused", tone: "bad" };
  if (state === BreakerState.HALF_OPEN) return { word: "one call tries", tone: "wait" };
  return { word: "calls go out", tone: "good" };
}

const MESSAGE_TONES: Partial<Record<InboundMessageState, Tone>> = {
  [InboundMessageState.RECEIVED]: "good",
  [InboundMessageState.HANDLED]: "good",
  [InboundMessageState.FAILED]: "bad",
};

/** What became of a message. */
export const messageVerdict = (state: InboundMessageState): Verdict => ({ word: word(InboundMessageState, state), tone: MESSAGE_TONES[state] ?? "idle" });

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BreakerState, ConnectionState, InboundMessageState } from "@freehold/client/gen/freehold/integrations/v1/connection_pb";
import { WebhookDeliveryState, WebhookEndpointState } from "@freehold/client/gen/freehold/integrations/v1/webhook_endpoint_pb";
import { expect, test } from "vitest";

import {
  WEBHOOK_FIELDS,
  attemptVerdict,
  breakerVerdict,
  checkVerdict,
  connectionVerdict,
  deliveryVerdict,
  endpointVerdict,
  isMasked,
  messageVerdict,
  nextLook,
  nextStep,
  pretty,
  wants,
  webhookCli,
  webhookFaults,
} from "../src/lib/integrations.js";
import { pathOf } from "../src/lib/names.js";
import { readForm } from "../src/lib/schema.js";

const at = timestampFromMs;

test("an endpoint that fails is told from one that is disabled", () => {
  const state = WebhookEndpointState.ENABLED;
  expect(endpointVerdict({ state }).word).toBe("enabled");
  expect(endpointVerdict({ state, failingSince: at(1) })).toEqual({ word: "failing", tone: "bad" });
  expect(endpointVerdict({ state: WebhookEndpointState.DISABLED, failingSince: at(1) }).word).toBe("disabled");
});

test("a delivery says whether it goes on", () => {
  const { PENDING, DELIVERED, FAILED } = WebhookDeliveryState;
  expect(deliveryVerdict({ state: PENDING, attemptCount: 0 }).word).toBe("pending");
  expect(deliveryVerdict({ state: PENDING, attemptCount: 2 })).toEqual({ word: "is retried", tone: "wait" });
  expect(deliveryVerdict({ state: DELIVERED, attemptCount: 1 }).tone).toBe("good");
  expect(deliveryVerdict({ state: FAILED, attemptCount: 9 })).toEqual({ word: "given up", tone: "bad" });
});

test("a try is good only with an answer that takes it", () => {
  expect(attemptVerdict({ status: 204, error: "" })).toEqual({ word: "answered 204", tone: "good" });
  expect(attemptVerdict({ status: 503, error: "the receiver answered 503" })).toEqual({ word: "answered 503", tone: "bad" });
  expect(attemptVerdict({ status: 0, error: "connection refused" })).toEqual({ word: "no answer", tone: "bad" });
});

test("a header of which the name alone is kept is told from one with a value", () => {
  expect(["", "(hidden)", "application/json"].map(isMasked)).toEqual([true, true, false]);
});

test("what an endpoint wants is said in short", () => {
  const name = "tenants/acme/webhookEndpoints/ops";
  expect(wants({ name, kinds: [], below: "", filter: "" })).toBe("every event");
  expect(wants({ name, kinds: ["run.*"], below: "tenants/acme", filter: "" })).toBe("run.*");
  expect(wants({ name, kinds: ["run.*", "project.created"], below: "tenants/acme/projects/shop", filter: "true" })).toBe(
    "run.*, project.created below projects/shop, filtered",
  );
});

test("deliveries are looked at again when a try is due, never often, and not when all are over", () => {
  const { PENDING, DELIVERED } = WebhookDeliveryState;
  expect(nextLook([{ state: DELIVERED }], 0)).toBeUndefined();
  expect(nextLook([{ state: PENDING, nextAttemptTime: at(1_000) }], 5_000)).toBe(2_000);
  expect(nextLook([{ state: PENDING, nextAttemptTime: at(90_000) }, { state: PENDING, nextAttemptTime: at(15_000) }], 5_000)).toBe(10_500);
  expect(nextLook([{ state: PENDING, nextAttemptTime: at(9_000_000) }], 0)).toBe(60_000);
});

test("what the server finds wrong lands at the field of the form", () => {
  const faults = webhookFaults([
    { field: "webhook_endpoint.url", description: "not https" },
    { field: "webhook_endpoint.kinds[1]", description: "not a kind" },
    { field: "webhook_endpoint.filter", description: "one" },
    { field: "webhook_endpoint.filter", description: "two" },
    { field: "webhook_endpoint_id", description: "too long" },
  ]);
  expect([...faults]).toEqual([
    ["inputs.url", "not https"],
    ["inputs.kinds[1]", "not a kind"],
    ["inputs.filter", "one; two"],
    ["inputs.name", "too long"],
  ]);
});

test("the form asks for an address alone, and is the same on the command line", () => {
  expect(readForm(WEBHOOK_FIELDS, {}).faults).toEqual(new Map([["inputs.url", "is required"]]));
  const { inputs, faults } = readForm(WEBHOOK_FIELDS, { url: "https://receiver.example/", name: "ops", kinds: ["run.*"], filter: "event.kind != 'a'", ordered: true });
  expect(faults.size).toBe(0);
  expect(webhookCli(inputs)).toBe("freehold webhook create ops https://receiver.example/ --kind 'run.*' --filter 'event.kind != '\\''a'\\''' --ordered");
  expect(webhookCli({})).toBe("freehold webhook create NAME 'https://…'");
});

test("a test that failed says why and what to do", () => {
  expect(checkVerdict(undefined).word).toBe("not tested");
  expect(checkVerdict({ ok: true, errorKind: "" })).toEqual({ word: "works", tone: "good" });
  expect(checkVerdict({ ok: false, errorKind: "circuit_open" })).toEqual({ word: "circuit open", tone: "bad" });
  expect(nextStep({ errorKind: "auth" })).toContain("Rotate");
  expect(nextStep({ errorKind: "something new" })).not.toBe("");
});

test("connections, their breakers and their messages have words", () => {
  expect(connectionVerdict({ state: ConnectionState.DISABLED }).word).toBe("disabled");
  expect(connectionVerdict({ state: ConnectionState.ENABLED }).tone).toBe("good");
  expect(breakerVerdict(BreakerState.OPEN).tone).toBe("bad");
  expect(breakerVerdict(BreakerState.CLOSED).tone).toBe("good");
  expect(messageVerdict(InboundMessageState.RECEIVED).word).toBe("received");
  expect(messageVerdict(InboundMessageState.FAILED).tone).toBe("bad");
});

test("bodies are laid out when they are JSON, and left alone otherwise", () => {
  expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}');
  expect(pretty("<html>")).toBe("<html>");
});

test("endpoints, deliveries and connections have addresses", () => {
  expect(pathOf("tenants/acme/webhookEndpoints/ops")).toBe("/t/acme/webhooks/ops");
  expect(pathOf("tenants/acme/webhookEndpoints/ops/deliveries/01a2")).toBe("/t/acme/webhooks/ops?delivery=01a2");
  expect(pathOf("tenants/acme/connections/code")).toBe("/t/acme/connections/code");
  expect(pathOf("tenants/acme/connections/code/inboundMessages/01a2")).toBe("/t/acme/connections/code");
});
